"""What is known of each module, from its members: their share in the module, their labels, tokens and prompt sets, and the modules
they exchange flow with.

A member counts with the polarity in which it matters most in the graphs (n * mean |relevance|). Its **share** is the |flow| that
passes through it in all graphs (logits), over the sum of the module's members. This is not the random walker's flow of
`clustering/find_modules.py`: there links may be weighted in another way, and a few strong ones would outweigh all other members.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from neuron_atlas.core.circuits.clustering.flow_graph import neuron_edges
from neuron_atlas.core.labeling.evidence.shown_label import best_labels
from neuron_atlas.core.records import Tables
from neuron_atlas.core.tables import ASSETS

N_TOKENS = 10
"""Tokens kept per module."""

MIN_DOMAIN_Z = 2.0
"""Log-odds z from which on a neuron counts as specific to a prompt set."""

_THEME = r"(?s)\s*[:(].*$"
"""What follows the theme of a label: its examples."""


@dataclass(frozen=True, slots=True)
class Share:
    """Something that several members have in common, the share 0..1 of the members that has it, and tokens that go with it."""

    text: str
    share: float
    tokens: Sequence[str] = ()


@dataclass(frozen=True)
class ModuleEvidence:
    """What is known of one module. Lists are in falling order of share; `flow` is its share 0..1 of all flow.

    `does` and `fires_on` are the themes of output and input labels (shares of the members that have such labels), `prompt_sets`
    those to which members are specific, `tokens` what the members promote, `receives` and `sends` other modules by path (shares of
    the |flow| that crosses the module's border inward and outward).
    """

    path: str
    size: int
    flow: float
    layer_min: int
    layer_max: int
    does: Sequence[Share]
    fires_on: Sequence[Share]
    prompt_sets: Sequence[Share]
    tokens: Sequence[str]
    receives: Sequence[Share]
    sends: Sequence[Share]


def module_evidence(
    tables: Tables, modules: pl.DataFrame, members: pl.DataFrame, tokens: pl.DataFrame
) -> list[ModuleEvidence]:
    """What is known of every module, in the order of `modules` (table clusters). `members` and `tokens`: see `module_members` and
    `module_tokens`."""
    edges = neuron_edges({"edge_stats": table_or_empty(tables, "edge_stats").lazy()})
    does = _lists(label_themes(tables, "output_labels", members))
    fires_on = _lists(label_themes(tables, "input_labels", members))
    prompt_sets = _lists(prompt_set_shares(tables, members))
    receives = _lists(flow_partners(edges, tables, inward=True))
    sends = _lists(flow_partners(edges, tables, inward=False))
    texts = _texts(tokens)
    columns = modules.select("path", "size", "flow", "layer_min", "layer_max")
    return [
        ModuleEvidence(
            path=path,
            size=size,
            flow=flow,
            layer_min=layer_min,
            layer_max=layer_max,
            does=does.get(path, []),
            fires_on=fires_on.get(path, []),
            prompt_sets=prompt_sets.get(path, []),
            tokens=texts.get(path, []),
            receives=receives.get(path, []),
            sends=sends.get(path, []),
        )
        for path, size, flow, layer_min, layer_max in columns.iter_rows()
    ]


def _texts(tokens: pl.DataFrame) -> Mapping[str, list[str]]:
    return dict(tokens.group_by("path", maintain_order=True).agg("token").iter_rows())


def _lists(shares: pl.DataFrame) -> Mapping[str, list[Share]]:
    """Shares by module, in order."""
    tokens = shares["tokens"].to_list() if "tokens" in shares.columns else [()] * shares.height
    found: dict[str, list[Share]] = {}
    for (path, text, share), examples in zip(shares.select("path", "text", "share").iter_rows(), tokens, strict=True):
        found.setdefault(path, []).append(Share(text, share, tuple(examples)))
    return found


def table_or_empty(tables: Tables, name: str) -> pl.DataFrame:
    """The rows of a table; no rows where the table is not given."""
    if name in tables:
        return tables[name].collect()
    return next(table for asset in ASSETS.values() for table in asset if table.name == name).empty()


def at_level(level: int) -> pl.Expr:
    """The part of column `path` down to a level; `3.1.2` at level 2 is `3.1`, and `3` stays `3`."""
    return pl.col("path").str.split(".").list.head(level).list.join(".")


def module_members(tables: Tables) -> pl.DataFrame:
    """One row per module at any level and neuron inside it.

    Columns path, layer, neuron, share (of the flow through the module's members, 0..1), polarity, der (1 where unknown). Without
    edge_stats the random walker's flow takes the place of the |flow|; where a module has neither, all members count alike.
    """
    members = table_or_empty(tables, "cluster_members").drop_nulls("path")
    depth = pl.col("path").str.split(".").list.len()
    deepest = members.select(depth.max()).item() or 0
    levels = [
        members.filter(depth >= level).select("layer", "neuron", "flow", path=at_level(level))
        for level in range(1, max(deepest, 1) + 1)
    ]
    measure = "flow_through" if "edge_stats" in tables else "flow"
    total = pl.col(measure).sort().sum().over("path")
    share = pl.when(total > 0).then(pl.col(measure) / total).otherwise(1 / pl.len().over("path"))
    at = ["layer", "neuron"]
    return (
        pl.concat(levels)
        .join(_flow_through(table_or_empty(tables, "edge_stats")), on=at, how="left")
        .with_columns(pl.col("flow_through").fill_null(0.0))
        .with_columns(share=share)
        .join(_main_polarity(table_or_empty(tables, "neuron_profiles")), on=at, how="left")
        .join(table_or_empty(tables, "der_scores").select(*at, pl.col("der").cast(pl.Float64)), on=at, how="left")
        .select("path", *at, "share", pl.col("polarity").fill_null(1), pl.col("der").fill_null(1.0))
        .sort("path", *at)
    )


def _flow_through(edges: pl.DataFrame) -> pl.DataFrame:
    """The |flow| in and out of every neuron, summed over all instances: columns layer, neuron, flow_through (logits)."""
    flow = pl.col("n") * pl.col("flow_abs_mean").cast(pl.Float64)
    ends = [
        edges.filter(pl.col(f"{end}_kind") == "neuron").select(layer=f"{end}_layer", neuron=end, flow_through=flow)
        for end in ("source", "target")
    ]
    return pl.concat(ends).group_by("layer", "neuron").agg(pl.col("flow_through").sort().sum())


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
    what a routing neuron would promote says little.
    """
    projections = table_or_empty(tables, "output_projections").with_columns(pl.col("weight").abs().cast(pl.Float64))
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


def label_themes(tables: Tables, side: str, members: pl.DataFrame) -> pl.DataFrame:
    """What the members' labels of one side (`output_labels` or `input_labels`) say before their examples.

    A label that only lists tokens ("promotes Salem, Boise and Austin") has no theme that another neuron could share, and one
    that falls back on a prompt set's name ("promotes geography words") is counted by `prompt_set_shares`. Columns path, text,
    share (of the members that have any label of this side), tokens (those that the labels of this theme predict, by share and
    rank); largest share first.
    """
    sets = table_or_empty(tables, "neuron_profiles")["domain"].drop_nulls().unique()
    fallbacks = pl.lit((sets + " words").implode(), dtype=pl.List(pl.String))
    labeled = (
        best_labels(table_or_empty(tables, side))
        .drop_nulls("label")
        .select("layer", "neuron", "polarity", "tokens", text=pl.col("label").str.replace(_THEME, "").str.strip_chars())
        .join(members, on=["layer", "neuron", "polarity"])
        .with_columns(share=pl.col("share") / pl.col("share").sort().sum().over("path"))
        .filter(pl.col("text") != "", ~pl.col("text").str.contains(",", literal=True))
        .filter(~pl.col("text").str.contains_any(fallbacks))
    )
    found = _by_share(labeled)
    return found.join(_theme_tokens(labeled), on=["path", "text"], how="left").with_columns(
        pl.col("tokens").fill_null([])
    )


def _theme_tokens(labeled: pl.DataFrame) -> pl.DataFrame:
    """The tokens of every theme, as lists: columns path, text, tokens. A label's first token counts in full, its second half …"""
    place = pl.int_ranges(1, pl.col("tokens").list.len() + 1)
    ranked = (
        labeled.filter(pl.col("tokens").list.len() > 0)
        .with_columns(place=place)
        .explode("tokens", "place")
        .group_by("path", "text", "tokens")
        .agg(score=(pl.col("share") / pl.col("place")).sort().sum())
        .filter(pl.col("score") > 0)
        .sort("path", "text", pl.col("score").round(12), "tokens", descending=[False, False, True, False])
    )
    return ranked.group_by("path", "text", maintain_order=True).agg(pl.col("tokens").head(N_TOKENS))


def prompt_set_shares(tables: Tables, members: pl.DataFrame) -> pl.DataFrame:
    """The prompt sets to which members are specific: columns path, text, share (of all members), largest first."""
    specific = (
        table_or_empty(tables, "neuron_profiles")
        .filter(pl.col("domain").is_not_null(), pl.col("domain_z") >= MIN_DOMAIN_Z)
        .select("layer", "neuron", "polarity", text="domain")
        .join(members, on=["layer", "neuron", "polarity"])
    )
    return _by_share(specific)


def flow_partners(edges: pl.DataFrame, tables: Tables, *, inward: bool) -> pl.DataFrame:
    """From which other modules of its level a module receives flow (`inward`), or to which it sends flow.

    `edges` as of `neuron_edges`. Columns path, text (the other's path), share (of the |flow| that crosses the border in this
    direction), largest first. A neuron that is in no module of this level counts for the smallest module it is in.
    """
    members = table_or_empty(tables, "cluster_members").drop_nulls("path")
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
