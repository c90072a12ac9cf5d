"""What a labeler is: evidence in, one answer per neuron out. A new one goes into `labelers/`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from neuron_atlas.core.labeling.evidence.evidence_record import Evidence
from neuron_atlas.core.labeling.evidence.labeler_answer import Label, Unlabeled


class Labeler(Protocol):
    """Turns evidence into labels: the rules, a language model, or nothing where only given labels count."""

    @property
    def name(self) -> str:
        """rules | openai | openai-batch | human | import, stored with every label."""
        ...

    @property
    def version(self) -> str:
        """Version of everything that shapes an answer: code, prompt template, model."""
        ...

    def label(self, evidence: Sequence[Evidence]) -> Iterable[Label | Unlabeled]:
        """One answer per piece of evidence, in order. A layer comes at once, so a labeler may batch or run side by side."""
        ...
