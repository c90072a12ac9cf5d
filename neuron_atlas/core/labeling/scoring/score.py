"""How good is a label? Measured on what no labeler saw, against what a wrong label would reach.

Every score comes with the score of other neurons' labels in its place (the shuffled-label null), a 95 % interval, and
`corrected` = (score - null) / (1 - null): 0 is what any label reaches, 1 is perfect. Interpretability is derived from these
numbers, never from a labeler's word. The metrics are defined in `score_input.py` and `score_output.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import polars as pl

from neuron_atlas.core.labeling.evidence.label_rows import LabelRow, rows_of
from neuron_atlas.core.labeling.scoring.activation_simulator import flatten, simulate
from neuron_atlas.core.labeling.scoring.measures import Measured
from neuron_atlas.core.labeling.scoring.score_input import HeldOut, detection, fuzzing, simulation
from neuron_atlas.core.labeling.scoring.score_output import (
    MAX_CONTEXTS,
    MIN_CONTEXTS,
    NULLS,
    Claim,
    intervene,
    leading_ids,
)
from neuron_atlas.core.ports import SubjectModel
from neuron_atlas.core.records import Frames, Tables
from neuron_atlas.core.tables import LABEL_SCORES

HIGH, MEDIUM = 0.6, 0.3
"""Corrected scores from which a label counts as highly or fairly interpretable, if its interval lies above the null."""
RUNS = 2048
"""Steered runs of one layer for the labels of one labeler."""

_Row = tuple[object, ...]


def score_layer(
    model: SubjectModel | None,
    layer: int,
    *,
    evidence: Tables,
    labels: Tables,
    seed: int = 0,
    budget: int = RUNS,
    progress: Callable[[int, int], None] | None = None,
) -> Frames:
    """Table `label_scores` of one layer, for every labeler's labels in `labels` (`output_labels`, `input_labels`).

    `evidence` holds `exemplars` (only held-out ones are used) and, if at hand, `neuron_profiles` and
    `projection_agreement` (stored beside the labels of either side as metric `projection_rank`: how far the neuron's
    projection may be believed). Without a model, or without texts, output labels are not scored.
    `budget` caps the steered runs of the layer: neurons are taken by how many prompts they appear in. A label that
    predicts no tokens, or has too little held out, has no row. `progress` gets (labels done, labels).
    """
    inputs = _scorable(labels, "input_labels", layer)
    outputs = _scorable(labels, "output_labels", layer)
    total = len(inputs) + len(outputs)
    rows: list[_Row] = []
    for done, made in enumerate(_input_rows(layer, inputs, evidence, seed), start=1):
        rows += made
        if progress is not None:
            progress(done, total)
    for side, labeled in (("input", inputs), ("output", outputs)):
        rows += _agreement_rows(layer, side, labeled, evidence)
    if model is not None:
        rows += _output_rows(model, layer, outputs, evidence, seed, budget)
    if progress is not None:
        progress(total, total)
    frame = pl.DataFrame(rows, schema=LABEL_SCORES.schema, orient="row") if rows else LABEL_SCORES.empty()
    return {LABEL_SCORES.name: LABEL_SCORES.checked(frame)}


def interpretability(score: float, null: float, low: float) -> str:
    """low | medium | high, from the corrected score; low unless the interval lies above the null."""
    corrected = correct(score, null)
    if corrected is None or low <= null:
        return "low"
    return "high" if corrected >= HIGH else "medium" if corrected >= MEDIUM else "low"


def correct(score: float, null: float) -> float | None:
    """(score - null) / (1 - null); None where the null leaves no room."""
    return (score - null) / (1 - null) if null < 1 - 1e-9 else None


def _scorable(labels: Tables, name: str, layer: int) -> list[LabelRow]:
    if name not in labels:
        return []
    usable = (pl.col("layer") == layer) & pl.col("label").is_not_null() & (pl.col("token_ids").list.len() > 0)
    return rows_of(labels[name].filter(usable).sort("labeler", "neuron", "polarity").collect())


def _input_rows(layer: int, labels: Sequence[LabelRow], evidence: Tables, seed: int) -> Iterator[list[_Row]]:
    held = _held_out(layer, evidence)
    rng = np.random.default_rng([seed, layer, 1])
    for at, label in enumerate(labels):
        texts = held.get((label["neuron"], label["polarity"]))
        if texts is None:
            yield []
            continue
        others = _others(labels, at, rng)
        own = simulate(texts.texts, label["token_ids"], label["type"])
        wrong = [simulate(texts.texts, other["token_ids"], other["type"]) for other in others]
        found = {
            "detection": (detection(texts, own, rng), [detection(texts, w, None) for w in wrong]),
            "fuzzing": (fuzzing(texts, own), [fuzzing(texts, w) for w in wrong]),
            "simulation": (simulation(texts, own, rng), [simulation(texts, w, None) for w in wrong]),
        }
        yield [
            _row(label, "input", metric, score, float(np.mean([null.value for null in nulls if null is not None])))
            for metric, (score, nulls) in found.items()
            if score is not None and nulls
        ]


def _agreement_rows(layer: int, side: str, labels: Sequence[LabelRow], evidence: Tables) -> list[_Row]:
    """Spearman's rho of the side's projection, one row per label; no null, for no label takes part. Of several corpora the one
    with most tokens counts."""
    if "projection_agreement" not in evidence:
        return []
    measured = (pl.col("layer") == layer) & (pl.col("side") == side) & pl.col("rank_correlation").is_not_null()
    rows = evidence["projection_agreement"].filter(measured).select("neuron", "rank_correlation", "n_tokens")
    ordered = rows.sort("n_tokens", "rank_correlation").collect()
    found = {neuron: (rho, n) for neuron, rho, n in ordered.iter_rows()}
    return [
        (*_key(label, side, "projection_rank"), found[label["neuron"]][0], *[None] * 4, found[label["neuron"]][1], None)
        for label in labels
        if label["neuron"] in found
    ]


def _others(labels: Sequence[LabelRow], at: int, rng: np.random.Generator) -> list[LabelRow]:
    """Labels of other neurons by the same labeler, drawn by seed."""
    own = labels[at]
    pool = [
        n for n, other in enumerate(labels) if other["neuron"] != own["neuron"] and other["labeler"] == own["labeler"]
    ]
    return [labels[int(n)] for n in rng.choice(pool, size=min(NULLS, len(pool)), replace=False)] if pool else []


def _held_out(layer: int, evidence: Tables) -> Mapping[tuple[int, int], HeldOut]:
    if "exemplars" not in evidence:
        return {}
    grouped = (
        evidence["exemplars"]
        .filter((pl.col("layer") == layer) & pl.col("is_held_out") & (pl.col("token_ids").list.len() > 0))
        .sort("corpus", "neuron", "polarity", "kind", "rank")
        .group_by("neuron", "polarity", maintain_order=True)
        .agg("token_ids", "activations", "kind")
        .collect()
    )
    found: dict[tuple[int, int], HeldOut] = {}
    for neuron, polarity, ids, activations, kinds in grouped.iter_rows():
        held = HeldOut.of(flatten(ids, activations, kinds, polarity))
        if held is not None:
            found[neuron, polarity] = held
    return found


def _output_rows(
    model: SubjectModel, layer: int, labels: Sequence[LabelRow], evidence: Tables, seed: int, budget: int
) -> list[_Row]:
    if "exemplars" not in evidence or not labels:
        return []
    vocabulary = model.spec.vocab_size
    chosen = _most_seen([label for label in labels if max(label["token_ids"]) < vocabulary], layer, evidence, budget)
    claims = [Claim(x["neuron"], x["polarity"], tuple(x["token_ids"]), x["direction"]) for x in chosen]
    n_contexts = min(MAX_CONTEXTS, max(MIN_CONTEXTS, budget // max(len(claims), 1)))
    contexts = _contexts(model, layer, evidence, n_contexts, seed)
    length = _usual_length(model, layer, evidence)
    if not length > 0:
        return []
    tried = intervene(model, layer, claims, contexts, length=length, seed=seed)
    return [
        _row(label, "output", "intervention", Measured(one.score, one.low, one.high, one.n), one.null)
        for label, one in zip(chosen, tried, strict=False)
    ]


def _most_seen(labels: Sequence[LabelRow], layer: int, evidence: Tables, budget: int) -> list[LabelRow]:
    """As many labels as the budget can steer on the fewest texts, those seen in most prompts first."""
    most = max(2, budget // MIN_CONTEXTS)
    if len(labels) <= most:
        return list(labels)
    seen: dict[tuple[int, int], int] = {}
    if "neuron_profiles" in evidence:
        rows = evidence["neuron_profiles"].filter(pl.col("layer") == layer).select("neuron", "polarity", "n_prompts")
        seen = {(neuron, polarity): n for neuron, polarity, n in rows.collect().iter_rows()}
    return sorted(labels, key=lambda x: -seen.get((x["neuron"], x["polarity"]), 0))[:most]


def _contexts(model: SubjectModel, layer: int, evidence: Tables, n: int, seed: int) -> list[list[int]]:
    """Held-out texts of the layer's exemplars, drawn by seed, cut at a random place, as the model reads them."""
    held = (pl.col("layer") == layer) & pl.col("is_held_out") & (pl.col("token_ids").list.len() >= 2)
    texts = (
        evidence["exemplars"].filter(held).select("text_id", "token_ids").unique("text_id", keep="any").sort("text_id")
    )
    ids: list[list[int]] = [row[1] for row in texts.collect().iter_rows()]
    rng = np.random.default_rng([seed, layer, 2])
    drawn = [int(i) for i in rng.permutation(len(ids))[:n]]
    first = leading_ids(model)
    return [[*first, *ids[i][: int(rng.integers(2, len(ids[i]) + 1))]] for i in drawn]


def _usual_length(model: SubjectModel, layer: int, evidence: Tables) -> float:
    """Median over neurons of |peak activation| times |decoder column|: what a firing neuron usually writes."""
    norms = np.linalg.norm(model.mlp_weights(layer).down, axis=0)
    peaks = (
        evidence["exemplars"]
        .filter((pl.col("layer") == layer) & (pl.col("kind") == "top"))
        .group_by("neuron")
        .agg(pl.col("peak_activation").abs().max())
        .sort("neuron")
        .collect()
    )
    written = peaks["peak_activation"].to_numpy() * norms[peaks["neuron"].to_numpy()]
    return float(np.median(written)) if len(written) else 0.0


def _row(label: LabelRow, side: str, metric: str, score: Measured, null: float) -> _Row:
    key = _key(label, side, metric)
    grade = interpretability(score.value, null, score.low)
    return (*key, score.value, null, correct(score.value, null), score.low, score.high, score.n, grade)


def _key(label: LabelRow, side: str, metric: str) -> _Row:
    return (label["layer"], label["neuron"], label["polarity"], label["labeler"], side, metric)
