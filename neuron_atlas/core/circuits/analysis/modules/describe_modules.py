"""Every module as it is stored: its layers and positions, the tokens it reads and writes, its members, its name.

The name says what a module does on this prompt: the tokens that drive it most and the tokens it writes, as in "reads “Bend”, “is”;
writes “Oregon”, “Salem”". What its members do in general is its `theme`: what the labels of at least a quarter of its labeled
members say, by |relevance|.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import polars as pl

from neuron_atlas.core.circuits.analysis.analysis_record import (
    Effect,
    Member,
    Module,
    ReadToken,
    WrittenToken,
)
from neuron_atlas.core.circuits.analysis.modules.graph_modules import GraphModules
from neuron_atlas.core.circuits.analysis.modules.logit_lens import extreme_tokens
from neuron_atlas.core.circuits.analysis.modules.module_flow import module_traffic
from neuron_atlas.core.circuits.naming.name_by_rules import MIN_THEME_SHARE
from neuron_atlas.core.labeling.evidence.labeler_answer import is_quotable
from neuron_atlas.core.ports import Array, SubjectModel
from neuron_atlas.core.records import AttributionGraph, InstanceLabels, NeuronId

N_TOKENS = 8
"""Tokens listed on either side of what a module writes, and of what it reads."""
READ_SHARE = 0.1
"""Least share of a module's |flow| from tokens for a token to be in its name."""
NAMED = 3
"""Tokens of a kind in a name."""


def describe_modules(
    graph: AttributionGraph,
    modules: GraphModules,
    flows: pl.DataFrame,
    *,
    logits: Mapping[int, Array],
    effects: Mapping[int, Effect],
    labels: InstanceLabels,
    model: SubjectModel | None,
) -> list[Module]:
    """Every module, by number. `flows` as of `module_flows`; `logits` what each adds to the logits [V] (empty without a model)."""
    traffic = {row["module"]: row for row in module_traffic(flows).iter_rows(named=True)}
    quiet = {"flow_in": 0.0, "flow_out": 0.0, "within": 0.0}
    found: list[Module] = []
    for (number,), rows in (
        modules.members.drop_nulls("module").sort("module", "node").group_by("module", maintain_order=True)
    ):
        assert isinstance(number, int)
        members = members_of(rows, labels)
        reads = _reads(graph, flows, number)
        written = logits.get(number)
        promotes, suppresses = ((), ()) if written is None or model is None else _writes(written, model)
        name = _name(reads, promotes)
        theme, theme_share = _theme(members)
        crossing = traffic.get(number, quiet)
        relevance = sum(one.relevance for one in members)
        goal = graph.summary.goal_value
        found.append(
            Module(
                module=number,
                path=str(rows["path"][0]),
                name=name,
                unnamed=None
                if name
                else "no token of the prompt drives it directly, and the tokens it writes were not measured",
                theme=theme,
                theme_share=theme_share,
                size=rows.height,
                layer_min=min(rows["layer"].to_list()),
                layer_max=max(rows["layer"].to_list()),
                positions=tuple(sorted(set(rows["position"].to_list()))),
                relevance=relevance,
                direct=sum(one.direct for one in members),
                share=relevance / goal if np.isfinite(goal) and goal else None,
                flow_in=crossing["flow_in"],
                flow_out=crossing["flow_out"],
                within=crossing["within"],
                reads=reads,
                promotes=promotes,
                suppresses=suppresses,
                members=tuple(members),
                zeroed=effects.get(number),
            )
        )
    return found


def members_of(rows: pl.DataFrame, labels: InstanceLabels) -> list[Member]:
    """Instances as they are stored, the largest |relevance| first."""
    found: list[Member] = []
    for row in rows.sort(pl.col("relevance").abs(), "node", descending=[True, False]).iter_rows(named=True):
        key = (NeuronId(row["layer"], row["neuron"]), -1 if row["activation"] < 0 else 1)
        found.append(
            Member(
                neuron=str(key[0]),
                position=row["position"],
                token=row["token"] or "",
                activation=row["activation"],
                relevance=row["relevance"],
                direct=row["direct"],
                does=labels.does.get(key),
                fires_on=labels.fires_on.get(key),
                reason=row["reason"],
            )
        )
    return found


def _reads(graph: AttributionGraph, flows: pl.DataFrame, module: int) -> tuple[ReadToken, ...]:
    into = flows.filter(
        pl.col("source_kind") == "token", pl.col("target_kind") == "module", pl.col("target") == module
    ).head(N_TOKENS)
    tokens: Sequence[str] = graph.summary.tokens
    rows: Iterable[tuple[int, float]] = into.select("source", "flow_abs").iter_rows()
    return tuple(ReadToken(position=at, token=tokens[int(at)], flow_abs=flow) for at, flow in rows)


def _writes(logits: Array, model: SubjectModel) -> tuple[tuple[WrittenToken, ...], tuple[WrittenToken, ...]]:
    raised, lowered = (
        tuple(
            WrittenToken(token=model.token_text(one), logit=float(logits[one]))
            for one in extreme_tokens(logits, N_TOKENS, sign=sign)
        )
        for sign in (1, -1)
    )
    return raised, lowered


def _name(reads: Sequence[ReadToken], promotes: Sequence[WrittenToken]) -> str | None:
    total = sum(one.flow_abs for one in reads)
    read = [one.token for one in reads if one.flow_abs >= READ_SHARE * total]
    parts = [("reads", read), ("writes", [one.token for one in promotes])]
    said = [f"{verb} {quoted}" for verb, tokens in parts if (quoted := _quoted(tokens))]
    return "; ".join(said) or None


def _quoted(tokens: Sequence[str]) -> str:
    fit = dict.fromkeys(token.strip() for token in tokens if is_quotable(token))
    return ", ".join(f"“{token}”" for token in list(fit)[:NAMED])


def _theme(members: Sequence[Member]) -> tuple[str | None, float]:
    """The theme with the largest share of the labeled members' |relevance|, if that is a quarter or more, and the share."""
    by_theme: dict[str, float] = {}
    for one in members:
        if one.does:
            theme = one.does.split(":")[0].strip()
            by_theme[theme] = by_theme.get(theme, 0.0) + abs(one.relevance)
    total = sum(by_theme.values())
    if total == 0:
        return None, 0.0
    theme = max(by_theme, key=lambda text: (by_theme[text], text))
    share = by_theme[theme] / total
    return (theme, share) if share >= MIN_THEME_SHARE else (None, share)
