"""The members of every module, with what each brings: a voice, the polarity that matters, labels, tokens, a home.

A member speaks with the polarity in which it matters most in the graphs (n * mean |relevance|). Its **voice** is the |flow| that
passes through it in all graphs, in logits. This is not the walker's flow of `modules`: there the links may be weighted otherwise,
and a few strong ones would drown all other members.
"""

from __future__ import annotations

import polars as pl

from neuron_atlas.core.labeling.evidence.precedence import best_labels
from neuron_atlas.core.records import Tables
from neuron_atlas.core.tables import ASSETS

N_TOKENS = 10
"""Tokens kept per module."""

HOME_Z = 2.0
"""Log-odds z from which on a neuron counts as at home in a prompt set."""

_THEME = r"(?s)\s*[:(].*$"
"""What follows the theme of a label: its examples."""


def given(tables: Tables, name: str) -> pl.DataFrame:
    """The rows of a table, or none where it was not given."""
    if name in tables:
        return tables[name].collect()
    return next(table for asset in ASSETS.values() for table in asset if table.name == name).empty()


def at_level(level: int) -> pl.Expr:
    """The part of column `path` down to a level; `3.1.2` at level 2 is `3.1`, and `3` stays `3`."""
    return pl.col("path").str.split(".").list.head(level).list.join(".")


def module_members(tables: Tables) -> pl.DataFrame:
    """One row per module at any level and neuron inside it.

    Columns path, layer, neuron, share (of the voices in the module, 0..1), polarity, der (1 where unknown). Where edge_stats is
    not given, the walker's flow is the voice; where a module has neither, all members count alike.
    """
    members = given(tables, "cluster_members").drop_nulls("path")
    depth = pl.col("path").str.split(".").list.len()
    deepest = members.select(depth.max()).item() or 0
    levels = [
        members.filter(depth >= level).select("layer", "neuron", "flow", path=at_level(level))
        for level in range(1, max(deepest, 1) + 1)
    ]
    voice = "voice" if "edge_stats" in tables else "flow"
    total = pl.col(voice).sort().sum().over("path")
    share = pl.when(total > 0).then(pl.col(voice) / total).otherwise(1 / pl.len().over("path"))
    at = ["layer", "neuron"]
    return (
        pl.concat(levels)
        .join(_voices(given(tables, "edge_stats")), on=at, how="left")
        .with_columns(pl.col("voice").fill_null(0.0))
        .with_columns(share=share)
        .join(_main_polarity(given(tables, "neuron_profiles")), on=at, how="left")
        .join(given(tables, "der_scores").select(*at, pl.col("der").cast(pl.Float64)), on=at, how="left")
        .select("path", *at, "share", pl.col("polarity").fill_null(1), pl.col("der").fill_null(1.0))
        .sort("path", *at)
    )


def _voices(edges: pl.DataFrame) -> pl.DataFrame:
    """The |flow| in and out of every neuron, summed over all instances: columns layer, neuron, voice (logits)."""
    flow = pl.col("n") * pl.col("flow_abs_mean").cast(pl.Float64)
    ends = [
        edges.filter(pl.col(f"{end}_kind") == "neuron").select(layer=f"{end}_layer", neuron=end, voice=flow)
        for end in ("source", "target")
    ]
    return pl.concat(ends).group_by("layer", "neuron").agg(pl.col("voice").sort().sum())


def _main_polarity(profiles: pl.DataFrame) -> pl.DataFrame:
    """The sign with which every neuron matters most: columns layer, neuron, polarity."""
    return (
        profiles.with_columns(matters=pl.col("n") * pl.col("relevance_abs_mean"))
        .sort("layer", "neuron", "matters", "polarity", descending=[False, False, True, True])
        .unique(subset=["layer", "neuron"], keep="first", maintain_order=True)
        .select("layer", "neuron", "polarity")
    )


def module_tokens(tables: Tables, members: pl.DataFrame) -> pl.DataFrame:
    """The tokens each module raises most: columns path, token_id, token, best first, at most `N_TOKENS` a module.

    A member gives each token its output weight relative to the member's strongest, times its share and its direct-effect ratio:
    what a neuron that only routes would promote says little.
    """
    projections = given(tables, "output_projections").with_columns(pl.col("weight").abs().cast(pl.Float64))
    strongest = pl.col("weight").max().over("layer", "neuron", "direction")
    return (
        projections.with_columns(relative=pl.col("weight") / strongest)
        .filter(pl.col("relative") > 0)
        .join(members, left_on=["layer", "neuron", "direction"], right_on=["layer", "neuron", "polarity"])
        .group_by("path", "token_id")
        .agg(score=(pl.col("relative") * pl.col("share") * pl.col("der")).sort().sum(), token=pl.col("token").min())
        .filter(pl.col("score") > 0)
        .sort("path", pl.col("score").round(12), "token_id", descending=[False, True, False])
        .group_by("path", maintain_order=True)
        .head(N_TOKENS)
        .select("path", "token_id", "token")
    )


def themes(tables: Tables, side: str, members: pl.DataFrame) -> pl.DataFrame:
    """What the members' labels of one side (`output_labels` or `input_labels`) say before their examples.

    A label that only lists tokens ("promotes Salem, Boise and Austin") has no theme that another neuron could share, and one
    that falls back on a prompt set's name ("promotes geography words") says where the neuron is at home (`homes`). Columns
    path, text, share (of the voices that carry any label of this side), tokens (those the labels of this theme predict, by
    voice and place); largest share first.
    """
    sets = given(tables, "neuron_profiles")["domain"].drop_nulls().unique()
    fallbacks = pl.lit((sets + " words").implode(), dtype=pl.List(pl.String))
    spoken = (
        best_labels(given(tables, side))
        .drop_nulls("label")
        .select("layer", "neuron", "polarity", "tokens", text=pl.col("label").str.replace(_THEME, "").str.strip_chars())
        .join(members, on=["layer", "neuron", "polarity"])
        .with_columns(share=pl.col("share") / pl.col("share").sort().sum().over("path"))
        .filter(pl.col("text") != "", ~pl.col("text").str.contains(",", literal=True))
        .filter(~pl.col("text").str.contains_any(fallbacks))
    )
    found = _by_share(spoken)
    return found.join(_theme_tokens(spoken), on=["path", "text"], how="left").with_columns(
        pl.col("tokens").fill_null([])
    )


def _theme_tokens(spoken: pl.DataFrame) -> pl.DataFrame:
    """The tokens of every theme, as lists: columns path, text, tokens. A label's first token counts whole, its second half …"""
    place = pl.int_ranges(1, pl.col("tokens").list.len() + 1)
    ranked = (
        spoken.filter(pl.col("tokens").list.len() > 0)
        .with_columns(place=place)
        .explode("tokens", "place")
        .group_by("path", "text", "tokens")
        .agg(score=(pl.col("share") / pl.col("place")).sort().sum())
        .filter(pl.col("score") > 0)
        .sort("path", "text", pl.col("score").round(12), "tokens", descending=[False, False, True, False])
    )
    return ranked.group_by("path", "text", maintain_order=True).agg(pl.col("tokens").head(N_TOKENS))


def homes(tables: Tables, members: pl.DataFrame) -> pl.DataFrame:
    """The prompt sets the members are at home in: columns path, text, share (of all the module's voices), largest first."""
    at_home = (
        given(tables, "neuron_profiles")
        .filter(pl.col("domain").is_not_null(), pl.col("domain_z") >= HOME_Z)
        .select("layer", "neuron", "polarity", text="domain")
        .join(members, on=["layer", "neuron", "polarity"])
    )
    return _by_share(at_home)


def traffic(edges: pl.DataFrame, tables: Tables, *, inward: bool) -> pl.DataFrame:
    """Which other modules of the same level a module hears from (`inward`) or speaks to.

    `edges` as of `neuron_edges`. Columns path, text (the other's path), share (of the |flow| that crosses the border in this
    direction), largest first. A neuron in no module this deep counts for the module it is in.
    """
    members = given(tables, "cluster_members").drop_nulls("path")
    depth = members.select(pl.col("path").str.split(".").list.len().max()).item() or 0
    found: list[pl.DataFrame] = []
    for level in range(1, depth + 1):
        place = members.select("layer", "neuron", module=at_level(level))
        ends = (
            edges.join(
                place.rename({"module": "from"}), left_on=["source_layer", "source"], right_on=["layer", "neuron"]
            )
            .join(place.rename({"module": "to"}), left_on=["target_layer", "target"], right_on=["layer", "neuron"])
            .select(
                path=pl.col("to" if inward else "from"),
                text=pl.col("from" if inward else "to"),
                share=pl.col("n") * pl.col("flow_abs_mean"),
            )
            .filter(
                pl.col("path").str.split(".").list.len() == level,
                pl.col("path") != pl.col("text"),
                ~pl.col("path").str.starts_with(pl.col("text") + "."),
            )
        )
        found.append(ends)
    crossing = (
        pl.concat(found) if found else pl.DataFrame(schema={"path": pl.String, "text": pl.String, "share": pl.Float64})
    )
    return _by_share(crossing.with_columns(share=pl.col("share") / pl.col("share").sort().sum().over("path")))


def _by_share(rows: pl.DataFrame) -> pl.DataFrame:
    """Sum the shares of equal texts within a module, largest first."""
    return (
        rows.group_by("path", "text")
        .agg(pl.col("share").sort().sum())
        .sort("path", pl.col("share").round(12), "text", descending=[False, True, False])
    )
