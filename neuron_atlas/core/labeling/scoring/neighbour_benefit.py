"""What neighbour labels are worth: the same neurons labeled with and without their neighbours' labels.

The same labeler gets the same evidence twice, once with every trace of other neurons' labels taken out; both labels are scored
on the same held-out texts and interventions. The difference is what labeling the layers in order gains.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from neuron_atlas.core.labeling.evidence.evidence_record import Evidence, Neighbour, OutputEvidence, TokenList
from neuron_atlas.core.labeling.evidence.labeler_answer import Label, Unlabeled
from neuron_atlas.core.labeling.labeler import Labeler
from neuron_atlas.core.records import SIDES, Tables

ALONE = " alone"
"""Suffix of a labeler's name when it saw no neighbour's label."""
_KEY = ("layer", "neuron", "polarity")


@dataclass(frozen=True)
class WithoutNeighbourLabels:
    """Fulfils `Labeler`: the same labeler, which sees no other neuron's label."""

    labeler: Labeler

    @property
    def name(self) -> str:
        """The labeler's name, marked."""
        return self.labeler.name + ALONE

    @property
    def version(self) -> str:
        """The labeler's version."""
        return self.labeler.version

    def label(self, evidence: Sequence[Evidence]) -> Iterator[Label | Unlabeled]:
        """One answer per piece of evidence, in order."""
        yield from self.labeler.label([without_neighbour_labels(one) for one in evidence])


def without_neighbour_labels(evidence: Evidence) -> Evidence:
    """The evidence without labels of other neurons and without what was concluded from them; the connections stay."""
    if isinstance(evidence, OutputEvidence):
        return evidence.model_copy(update={"downstream": _unlabeled(evidence.downstream), "routed": TokenList()})
    return evidence.model_copy(
        update={
            "upstream": _unlabeled(evidence.upstream),
            "cooccurring": _unlabeled(evidence.cooccurring),
            "gated": TokenList(),
            "output_label": None,
        }
    )


def _unlabeled(neighbours: Sequence[Neighbour]) -> tuple[Neighbour, ...]:
    return tuple(one.model_copy(update={"labels": ()}) for one in neighbours)


def compare_with_alone(labels: Tables, scores: pl.LazyFrame) -> pl.DataFrame:
    """Per pass, labeler and metric: how many neurons got a label with and without neighbours, the share whose label differs, and
    the mean corrected score of both where both were scored (`n_both`), with the paired difference and its 95 % interval;
    `only_with` and `only_alone` are the means of labels that only one of them could be scored on.

    `labels` and `scores` hold the rows of a labeler and of the same labeler `WithoutNeighbourLabels`.
    """
    parts: list[pl.DataFrame] = []
    for side in SIDES:
        if f"{side}_labels" not in labels:
            continue
        rows = labels[f"{side}_labels"].collect()
        measured = scores.filter(pl.col("side") == side).drop_nulls("corrected").collect()
        names = [name for name in rows["labeler"].unique().sort() if f"{name}{ALONE}" in set(rows["labeler"])]
        for name in names:
            parts += [
                _one(rows, measured.filter(pl.col("metric") == metric), side, name, metric)
                for metric in measured["metric"].unique().sort()
            ]
    return pl.concat(parts) if parts else pl.DataFrame()


def _one(rows: pl.DataFrame, measured: pl.DataFrame, side: str, name: str, metric: str) -> pl.DataFrame:
    def of(frame: pl.DataFrame, labeler: str) -> pl.DataFrame:
        return frame.filter(pl.col("labeler") == labeler)

    texts = of(rows, name).join(of(rows, name + ALONE), on=_KEY, suffix="_alone")
    with_them, alone = (of(measured, who).select(*_KEY, "corrected") for who in (name, name + ALONE))
    both = with_them.join(alone, on=_KEY, suffix="_alone")
    gain = both["corrected"] - both["corrected_alone"]
    spread = 1.96 * float(gain.std() or 0.0) / max(1, both.height) ** 0.5  # pyright: ignore[reportArgumentType]
    mean = float(gain.mean() or 0.0) if both.height else 0.0  # pyright: ignore[reportArgumentType]
    only_with = with_them.join(both, on=_KEY, how="anti")["corrected"]
    only_alone = alone.join(both, on=_KEY, how="anti")["corrected"]
    return pl.DataFrame(
        {
            "pass": [side],
            "labeler": [name],
            "metric": [metric],
            "neurons": [texts.height],
            "labeled": [texts["label"].count()],
            "labeled_alone": [texts["label_alone"].count()],
            "changed": [texts.select(pl.col("label").ne_missing(pl.col("label_alone")).mean()).item()],
            "n_both": [both.height],
            "corrected": [both["corrected"].mean()],
            "corrected_alone": [both["corrected_alone"].mean()],
            "gain": [mean],
            "gain_low": [mean - spread],
            "gain_high": [mean + spread],
            "n_only_with": [len(only_with)],
            "only_with": [only_with.mean()],
            "n_only_alone": [len(only_alone)],
            "only_alone": [only_alone.mean()],
        },
        schema_overrides={
            name: pl.Float64 for name in ("corrected", "corrected_alone", "only_with", "only_alone", "changed")
        },
    )
