"""Which neurons get a label, and which neighbour labels must exist first.

A neuron and polarity is **labelable** when a graph shows it (a row of `neuron_profiles`), or when a corpus does: it has
exemplars of kind `top` of that polarity and its density of that polarity is above 0 (where `activation_stats` is at hand;
else a peak of the right sign). Everything else has no evidence to speak of and gets no row.

The passes run in layer order: outputs late to early, inputs early to late. A neighbour that is labelable must have its row,
labeled or not, before a layer that shows it is labeled; otherwise the label would depend on what happened to be there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import polars as pl

from neuron_atlas.core.labeling.choice import LabelRow, best_labels, rows_of
from neuron_atlas.core.labeling.evidence import Side, polar_name
from neuron_atlas.core.records import Tables
from neuron_atlas.errors import Incomplete

KEY = ("layer", "neuron", "polarity")


def labelable(evidence: Tables, *, layer: int | None = None) -> pl.DataFrame:
    """The labelable (layer, neuron, polarity), sorted; of one layer, or of all."""
    found: list[pl.LazyFrame] = []
    if "neuron_profiles" in evidence:
        found.append(evidence["neuron_profiles"].select(KEY))
    if "exemplars" in evidence:
        tops = evidence["exemplars"].filter(
            (pl.col("kind") == "top") & (pl.col("peak_activation") * pl.col("polarity") > 0)
        )
        tops = tops.select(KEY).unique()
        if "activation_stats" in evidence:
            density = pl.concat(
                evidence["activation_stats"]
                .filter(pl.col(column) > 0)
                .select("layer", "neuron", pl.lit(polarity, pl.Int8).alias("polarity"))
                for column, polarity in (("density_positive", 1), ("density_negative", -1))
            )
            tops = tops.join(density.unique(), on=KEY, how="semi")
        found.append(tops)
    if not found:
        raise Incomplete(
            "nothing says which neurons to label; expected `neuron_profiles` or `exemplars`. Run edge_stats or activation_stats."
        )
    if layer is not None:
        found = [frame.filter(pl.col("layer") == layer) for frame in found]
    return pl.concat(found).unique().sort(KEY).collect()


def label_rows(labels: Tables, side: Side) -> dict[str, LabelRow]:
    """`L18/N6721+` to the best row of that neuron in `<side>_labels`; empty when the table is not given."""
    if f"{side}_labels" not in labels:
        return {}
    rows = rows_of(best_labels(labels[f"{side}_labels"].collect()))
    return {polar_name(row["layer"], row["neuron"], row["polarity"]): row for row in rows}


def require_labels(
    shown: Iterable[str], known: frozenset[str], rows: Mapping[str, LabelRow], side: Side, *, reader: str
) -> None:
    """Raise `Incomplete` unless every shown neuron that is labelable (`known`) has its row; `reader` names who needs it."""
    missing = sorted((set(shown) & known) - set(rows), key=_by_number)
    if missing:
        layers = sorted({int(name[1 : name.index("/")]) for name in missing})
        named = ", ".join(f"L{layer:02d}" for layer in layers)
        raise Incomplete(
            f"{reader} reads the {side} labels of {len(missing)} neurons that have none yet (first: {missing[0]}); "
            f"run {side}_labels for layer {named} first."
        )


def _by_number(name: str) -> tuple[int, int, str]:
    layer, neuron = name[1:-1].split("/N")
    return int(layer), int(neuron), name[-1]
