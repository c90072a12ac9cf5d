"""Domain specificity: is a neuron more frequent in one prompt set than in the baseline? Smoothed rates, and a z of their
difference.

With c prompts out of N showing the neuron, the rate is r = (c + 1/2) / (N + 1): the mean under the Jeffreys prior Beta(1/2, 1/2),
so a single prompt does not make a neuron specific, and sets of unequal size can be compared. Specificity is r_d / (r_d + r_b). Its
significance is the log-odds difference over its standard error,

    z = (logit_d - logit_b) / sqrt(1/(c_d+1/2) + 1/(N_d-c_d+1/2) + 1/(c_b+1/2) + 1/(N_b-c_b+1/2)).

The domain named is the one of largest z, so with D domains its z is a maximum of D: read it with that in mind.
"""

from __future__ import annotations

import polars as pl

SURE_Z = 3.0
"""A neuron counts as specific to its domain from this z on."""
_OWNER = ("layer", "neuron", "polarity")


def domain_specificity(set_neurons: pl.DataFrame, sets: pl.DataFrame) -> pl.DataFrame:
    """One row per neuron and polarity: layer, neuron, polarity, domain, domain_specificity, domain_z.

    `set_neurons` and `sets` are tables of `graph_stats`. All baseline sets are pooled. Without a domain or a baseline there is
    nothing to compare: no rows.
    """
    prompts = sets.select("prompt_set", "kind", total="n_prompts")
    counts = set_neurons.join(prompts, on="prompt_set")
    baseline = counts.filter(pl.col("kind") == "baseline").group_by(*_OWNER).agg(c_b=pl.col("n_prompts").sum())
    total_b = int(prompts.filter(pl.col("kind") == "baseline")["total"].sum())
    domains = prompts.filter(pl.col("kind") == "domain")
    if not total_b or not domains.height:
        schema = {"domain": pl.String, "domain_specificity": pl.Float64, "domain_z": pl.Float64}
        return pl.DataFrame(schema={"layer": pl.Int16, "neuron": pl.Int32, "polarity": pl.Int8, **schema})
    c_d, n_d = pl.col("n_prompts").fill_null(0), pl.col("total")
    c_b = pl.col("c_b").fill_null(0)
    z = (_log_odds(c_d, n_d) - _log_odds(c_b, pl.lit(total_b))) / (
        _spread(c_d, n_d) + _spread(c_b, pl.lit(total_b))
    ).sqrt()
    r_d, r_b = (c_d + 0.5) / (n_d + 1), (c_b + 0.5) / (total_b + 1)
    return (
        set_neurons.select(_OWNER)
        .unique()
        .join(domains, how="cross")
        .join(set_neurons, on=(*_OWNER, "prompt_set"), how="left")
        .join(baseline, on=_OWNER, how="left")
        .select(*_OWNER, domain="prompt_set", domain_specificity=r_d / (r_d + r_b), domain_z=z)
        .sort(*_OWNER, -pl.col("domain_z"), "domain")
        .unique(_OWNER, keep="first", maintain_order=True)
    )


def _log_odds(count: pl.Expr, total: pl.Expr) -> pl.Expr:
    return ((count + 0.5) / (total - count + 0.5)).log()


def _spread(count: pl.Expr, total: pl.Expr) -> pl.Expr:
    """Variance of the smoothed log odds."""
    return 1 / (count + 0.5) + 1 / (total - count + 0.5)
