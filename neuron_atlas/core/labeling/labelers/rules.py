"""The labeler that needs no model: evidence in, a composed label out, the same for the same evidence.

It says only what the evidence shows and abstains (`Unlabeled`) when that is weak or contradictory. The rules are in
`rules_output.py` and `rules_input.py`, what they make of a list of tokens in `rules_themes.py`; their labels are scored like any
other labeler's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from neuron_atlas.core.labeling.evidence.evidence_record import Evidence, OutputEvidence
from neuron_atlas.core.labeling.evidence.labeler_answer import Label, Unlabeled
from neuron_atlas.core.labeling.labelers.rules_input import explain_input
from neuron_atlas.core.labeling.labelers.rules_output import explain_output

VERSION = "rules/2"
"""Raise when any rule, threshold or wording changes: labels of another version are another labeler's."""


class RulesLabeler:
    """Fulfils `Labeler`."""

    name = "rules"
    version = VERSION

    def label(self, evidence: Sequence[Evidence]) -> Iterator[Label | Unlabeled]:
        """One answer per piece of evidence, in order."""
        for one in evidence:
            yield explain_output(one) if isinstance(one, OutputEvidence) else explain_input(one)
