"""Which neurons get a label.

A neuron and polarity is **labelable** when a graph shows it (a row of `neuron_profiles`), or when a corpus does: it has
exemplars of kind `top` of that polarity and its density of that polarity is above 0 (where `activation_stats` is at hand;
else a peak of the right sign). Everything else has no evidence to speak of and gets no row.
"""

from __future__ import annotations

import polars as pl

from neuron_atlas.core.records import Tables
from neuron_atlas.errors import Incomplete

KEY = ("layer", "neuron", "polarity")


def labelable(evidence: Tables) -> pl.DataFrame:
    """The labelable (layer, neuron, polarity) of all layers, sorted. Raises `Incomplete` when no table can tell."""
    found: list[pl.LazyFrame] = []
    if "neuron_profiles" in evidence:
        found.append(evidence["neuron_profiles"].select(KEY))
    if "exemplars" in evidence:
        found.append(_with_exemplars(evidence))
    if not found:
        raise Incomplete(
            "nothing says which neurons to label; expected `neuron_profiles` or `exemplars`. Run edge_stats or "
            "activation_stats first."
        )
    return pl.concat(found).unique().sort(KEY).collect()


def _with_exemplars(evidence: Tables) -> pl.LazyFrame:
    is_top = (pl.col("kind") == "top") & (pl.col("peak_activation") * pl.col("polarity") > 0)
    tops = evidence["exemplars"].filter(is_top).select(KEY).unique()
    if "activation_stats" not in evidence:
        return tops
    fires = [
        evidence["activation_stats"]
        .filter(pl.col(column) > 0)
        .select("layer", "neuron", polarity=pl.lit(sign, pl.Int8))
        for column, sign in (("density_positive", 1), ("density_negative", -1))
    ]
    return tops.join(pl.concat(fires).unique(), on=KEY, how="semi")
