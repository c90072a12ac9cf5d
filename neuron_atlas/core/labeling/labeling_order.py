"""In which order the neurons of a layer are labeled, so that a limited budget is spent on the most useful.

The expected gain of labeling a neuron is how often it appears, times how many neighbours would read the label, times how
unsure its best label is so far:

    gain = n_prompts * (1 + readers) * (1 - confidence)

An output label is read by the earlier neurons that act on this one, an input label by the later neurons it acts on. A neuron
without a label counts as fully unsure. The order only ranks neurons inside a layer: the passes keep their layer order.
"""

from __future__ import annotations

import polars as pl

from neuron_atlas.core.labeling.evidence.labelable import KEY, labelable
from neuron_atlas.core.labeling.evidence.shown_label import best_labels
from neuron_atlas.core.records import Side, Tables


def labeling_order(side: Side, layer: int, *, evidence: Tables, labels: Tables) -> pl.DataFrame:
    """The labelable (layer, neuron, polarity) of one layer by expected `gain`, largest first; ties by neuron and polarity.

    `evidence` as for `label_layer`; a neuron that no graph shows counts as seen once. `labels` may hold this layer's labels so far.
    """
    keys = labelable(evidence).filter(pl.col("layer") == layer)
    return (
        keys.join(_appearances(evidence), on=KEY, how="left")
        .join(_readers(side, layer, evidence), on="neuron", how="left")
        .join(_confidence(side, labels), on=KEY, how="left")
        .with_columns(
            gain=pl.col("n_prompts").fill_null(1).cast(pl.Float64)
            * (1.0 + pl.col("readers").fill_null(0))
            * (1.0 - pl.col("confidence").fill_null(0.0).cast(pl.Float64))
        )
        .sort(-pl.col("gain"), "neuron", "polarity")
        .select(*KEY, "gain")
    )


def _appearances(evidence: Tables) -> pl.DataFrame:
    if "neuron_profiles" not in evidence:
        return pl.DataFrame(schema={"layer": pl.Int16, "neuron": pl.Int32, "polarity": pl.Int8, "n_prompts": pl.Int64})
    return evidence["neuron_profiles"].select(*KEY, "n_prompts").collect()


def _readers(side: Side, layer: int, evidence: Tables) -> pl.DataFrame:
    """How many neurons at the other end of an edge would read this neuron's label."""
    if "edge_stats" not in evidence:
        return pl.DataFrame(schema={"neuron": pl.Int32, "readers": pl.UInt32})
    own = "target" if side == "output" else "source"
    between = (pl.col("source_kind") == "neuron") & (pl.col("target_kind") == "neuron")
    edges = evidence["edge_stats"].filter(between & (pl.col(f"{own}_layer") == layer))
    return edges.group_by(pl.col(own).alias("neuron")).agg(readers=pl.len()).collect()


def _confidence(side: Side, labels: Tables) -> pl.DataFrame:
    if f"{side}_labels" not in labels:
        return pl.DataFrame(
            schema={"layer": pl.Int16, "neuron": pl.Int32, "polarity": pl.Int8, "confidence": pl.Float32}
        )
    return best_labels(labels[f"{side}_labels"].collect()).select(*KEY, "confidence")
