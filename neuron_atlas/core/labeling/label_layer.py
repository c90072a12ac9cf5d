"""Labeling one layer in one pass: gather the evidence, ask the labeler, make the table's rows.

The caller runs outputs from the last layer to the first and inputs from the first to the last. Each row keeps what
made it: labeler and version, the hash of the evidence shown, the neighbour labels read (by content), and the model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import polars as pl

from neuron_atlas.core.labeling.evidence.evidence_record import polar_name
from neuron_atlas.core.labeling.evidence.gather import GatheredEvidence, gather
from neuron_atlas.core.labeling.evidence.labeler_answer import INPUT_TYPES, OUTPUT_TYPES, Label, Unlabeled
from neuron_atlas.core.labeling.evidence.lexicon import Lexicon
from neuron_atlas.core.labeling.given_labels import ids_by_text, join_given, with_token_ids
from neuron_atlas.core.labeling.labeler import Labeler
from neuron_atlas.core.labeling.labeling_order import labeling_order
from neuron_atlas.core.records import Frames, Side, Tables
from neuron_atlas.core.tables import INPUT_LABELS, OUTPUT_LABELS
from neuron_atlas.errors import PermanentError


def label_layer(
    side: Side,
    layer: int,
    *,
    evidence: Tables,
    labels: Tables,
    labeler: Labeler,
    model_revision: str,
    token_text: Mapping[int, str] | None = None,
    budget: int | None = None,
    given: pl.DataFrame | None = None,
    prior: Tables | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Frames:
    """Table `output_labels` or `input_labels` of one layer: a row, labeled or not, for every labelable neuron and polarity.

    `evidence` holds any of edge_stats, neuron_profiles, token_associations, cooccurrence, output_projections, input_projections,
    der_scores, exemplars and activation_stats, of the whole model (other layers' profiles tell which labels must exist).
    `labels` holds the label tables of the layers this one reads: for outputs `output_labels` of later layers; for inputs
    `output_labels` of this and earlier layers and `input_labels` of earlier ones. `given` rows of this table, by people or
    imported, are kept beside the new ones and never overwritten; `prior` holds label tables of either side with what was
    imported about this layer, which labelers are shown as claims. `token_text` names tokens that no table spells out.
    The labeler is shown the neurons in the order of `labeling_order.py`, so that the most useful are labeled before money or time
    runs out; with a `budget`, only so many, and the others get a row that says so. `progress` gets (done, total).
    Raises `Incomplete` when a neighbour's row is missing, `PermanentError` when the labeler answers out of step.
    """
    gathered, lexicon = gather(side, layer, evidence=evidence, labels=labels, token_text=token_text, prior=prior)
    chosen = _by_priority(side, layer, gathered, evidence, labels)[:budget]
    answers = _answers(side, [gathered[n] for n in chosen], labeler, progress)
    answered = dict(zip(chosen, answers, strict=True))
    by_text = ids_by_text(lexicon.text)
    table = OUTPUT_LABELS if side == "output" else INPUT_LABELS
    rows = [
        _row(one, answered.get(n, _left_out(budget)), labeler, model_revision, by_text, lexicon)
        for n, one in enumerate(gathered)
    ]
    made = pl.DataFrame(rows, schema=table.schema, orient="row") if rows else table.empty()
    if given is not None:
        made = join_given(made, with_token_ids(given.filter(pl.col("layer") == layer), by_text))
    return {table.name: table.checked(made)}


def _by_priority(
    side: Side, layer: int, gathered: Sequence[GatheredEvidence], evidence: Tables, labels: Tables
) -> list[int]:
    """Places in `gathered`, the neuron first whose label is worth most."""
    place = {one.evidence.name: n for n, one in enumerate(gathered)}
    order = labeling_order(side, layer, evidence=evidence, labels=labels)
    return [place[polar_name(at, neuron, polarity)] for at, neuron, polarity, _ in order.iter_rows()]


def _left_out(budget: int | None) -> Unlabeled:
    return Unlabeled(reason=f"left out: the budget was {budget} labels for this layer")


def _answers(
    side: Side, gathered: Sequence[GatheredEvidence], labeler: Labeler, progress: Callable[[int, int], None] | None
) -> Iterator[Label | Unlabeled]:
    types = frozenset[str](OUTPUT_TYPES if side == "output" else INPUT_TYPES)
    done = 0
    for done, answer in enumerate(labeler.label([one.evidence for one in gathered]), start=1):
        if isinstance(answer, Label) and answer.type not in types:
            raise PermanentError(
                f"labeler {labeler.name!r} gave type {answer.type!r} on the {side} side; expected one of {sorted(types)}"
            )
        yield answer
        if progress is not None:
            progress(done, len(gathered))
    if done != len(gathered):
        raise PermanentError(f"labeler {labeler.name!r} gave {done} answers; expected {len(gathered)}, one per neuron")


def _row(
    one: GatheredEvidence,
    answer: Label | Unlabeled,
    labeler: Labeler,
    model_revision: str,
    by_text: Mapping[str, int],
    lexicon: Lexicon,
) -> tuple[object, ...]:
    """A row in the order of the label tables' columns. Tokens that are not in the model's vocabulary are left out."""
    seen = one.evidence
    label = answer if isinstance(answer, Label) else None
    tokens = _known_tokens(label, by_text, lexicon) if label is not None else []
    return (
        seen.layer,
        seen.neuron,
        seen.polarity,
        labeler.name,
        labeler.version,
        label.label if label else None,
        label.description if label else None,
        label.type if label else "unknown",
        label.confidence if label else None,
        answer.reason if isinstance(answer, Unlabeled) else None,
        label.direction if label else 1,
        [lexicon.text[i] for i in tokens],
        tokens,
        list(one.refs),
        seen.digest(),
        model_revision,
    )


def _known_tokens(label: Label, by_text: Mapping[str, int], lexicon: Lexicon) -> list[int]:
    ids = label.token_ids or tuple(by_text[text.strip()] for text in label.tokens if text.strip() in by_text)
    return list(dict.fromkeys(i for i in ids if i in lexicon.text))
