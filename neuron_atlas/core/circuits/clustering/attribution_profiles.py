"""Attribution profiles: which tokens a neuron is driven by and which logits it acts on, prompt by prompt.

In every prompt a neuron has two vectors. Its **input side** says how much of its value came from each token of the prompt, along
all paths through the graph; its **output side**, how much it adds to each traced logit, along all paths. Both follow from the
edges: a target passes on its input in proportion to the shares that its sources had in its value, so for an edge s -> t of weight w

    input(t)  = w(embedding -> t) / v_t  +  sum over s of  w(s -> t) / v_t * input(s)       one entry per token
    output(s) = w(s -> logit)            +  sum over t of  w(s -> t) / v_t * output(t)      one entry per logit

computed layer by layer. Two neurons are **alike** when both their sides point the same way in the prompts that show both: the
cosine of either side, averaged over those prompts and one more in which they are unlike (so that a single prompt proves little),
then the harmonic mean of the two sides, 0 where one is negative. The idea of comparing features by what drives them and what they
drive, and not by their direct links, is that of ADAG (Arora et al. 2026, arXiv:2604.07615); how it is computed here is our own.

A neuron's two polarities are two units. Positions of special tokens are left out of the input side: nearly every neuron gets some
of its value from BOS. Not here: clusters of units with like profiles (`profile_clusters.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from neuron_atlas.core.records import Tables

MAX_UNITS = 256
"""Units compared per prompt, those that matter most: pairs grow with the square."""

TOKENS_KEPT = 3
"""Tokens remembered of each side, unit and prompt."""

_Floats: TypeAlias = NDArray[np.float64]
_Ints: TypeAlias = NDArray[np.int64]
UNIT = ("layer", "neuron", "polarity")


@dataclass(frozen=True)
class Profiles:
    """What all prompts say of units and their pairs.

    `units` has columns layer, neuron, polarity, sorted; its row number names a unit. `seen` has a row per unit and prompt: unit,
    prompt (number). `tokens` has columns unit, side (input, raises, lowers), token, share (of the side's absolute sum in one
    prompt). Pairs are arrays with one entry per pair of units a < b and prompt, sorted by pair; `first` is where each pair begins,
    `prompt` the prompt's number, `cosines` [entries, 2] the likeness of the input and of the output side.
    """

    units: pl.DataFrame
    seen: pl.DataFrame
    tokens: pl.DataFrame
    a: _Ints
    b: _Ints
    first: _Ints
    prompt: _Ints
    cosines: _Floats
    prompts: list[str]

    def likeness(self, times: _Ints | None = None, *, min_count: int = 2) -> pl.DataFrame:
        """Pairs that at least `min_count` prompts show together, when prompt i counts `times[i]` times (once).

        Columns a, b (units), n (prompts), input, output (likeness of the sides, -1..1), likeness (0..1), by pair.
        """
        weight = np.ones(len(self.prompt)) if times is None else times[self.prompt].astype(np.float64)
        if not len(self.first):
            return pl.DataFrame(schema={"a": pl.Int64, "b": pl.Int64, **dict.fromkeys(_LIKENESS, pl.Float64)})
        n = np.add.reduceat(weight, self.first)
        inputs, outputs = (np.add.reduceat(self.cosines * weight[:, None], self.first) / (n + 1)[:, None]).T
        low, high = np.maximum(inputs, 0.0), np.maximum(outputs, 0.0)
        both = np.divide(2 * low * high, low + high, out=np.zeros_like(low), where=low + high > 0)
        frame = pl.DataFrame({"a": self.a, "b": self.b, "n": n, "input": inputs, "output": outputs, "likeness": both})
        return frame.filter(pl.col("n") >= min_count)


_LIKENESS = ("n", "input", "output", "likeness")


def attribution_profiles(graphs: Tables, *, special_ids: Collection[int] = (), max_units: int = MAX_UNITS) -> Profiles:
    """The profiles of all traced prompts of `raw_graphs` (tables graphs, targets, nodes, edges).

    A prompt of several prompt sets counts once. In a prompt with more than `max_units` units only those with the largest
    |relevance| are profiled.
    """
    sides = list(_sides(graphs, special_ids=special_ids, max_units=max_units))
    named = [side.units.with_columns(prompt=pl.lit(number, pl.Int64)) for number, side in enumerate(sides)]
    empty = pl.DataFrame(schema={"layer": pl.Int16, "neuron": pl.Int32, "polarity": pl.Int8, "prompt": pl.Int64})
    seen = pl.concat([empty, *named])
    units = seen.select(UNIT).unique().sort(UNIT)
    numbered = units.with_row_index("unit").with_columns(pl.col("unit").cast(pl.Int64))
    seen = seen.join(numbered, on=UNIT, maintain_order="left").select("unit", "prompt")
    rows = {number: frame["unit"].to_numpy() for (number,), frame in seen.group_by("prompt", maintain_order=True)}
    keys, prompt, cosines = _pairs(sides, rows, n_units=max(units.height, 1))
    order = np.lexsort((prompt, keys))
    pairs, first = np.unique(keys[order], return_index=True)
    return Profiles(
        units=units,
        seen=seen,
        tokens=_tokens(sides, rows),
        a=pairs // max(units.height, 1),
        b=pairs % max(units.height, 1),
        first=first.astype(np.int64),
        prompt=prompt[order],
        cosines=cosines[order],
        prompts=[side.prompt_id for side in sides],
    )


@dataclass(frozen=True)
class _Sides:
    """One prompt: its units, their input sides [units, tokens] and output sides [units, logits], and the texts of both."""

    prompt_id: str
    units: pl.DataFrame
    inputs: _Floats
    outputs: _Floats
    input_tokens: list[str]
    output_tokens: list[str]


def _sides(graphs: Tables, *, special_ids: Collection[int], max_units: int) -> Iterator[_Sides]:
    traced = (
        graphs["graphs"]
        .filter(pl.col("reason").is_null())
        .select("prompt_id", "token_ids", "tokens")
        .collect()
        .unique("prompt_id", keep="first")
        .sort("prompt_id")
    )
    nodes = graphs["nodes"].unique(["prompt_id", "node"], keep="first").sort("prompt_id", "node").collect()
    edges = graphs["edges"].unique(["prompt_id", "source", "target"], keep="first").collect()
    targets = graphs["targets"].unique(["prompt_id", "node"], keep="first").sort("prompt_id", "node").collect()
    nodes_of, edges_of, targets_of = (
        frame.partition_by("prompt_id", as_dict=True, include_key=False) for frame in (nodes, edges, targets)
    )
    for prompt_id, token_ids, tokens in traced.iter_rows():
        key = (prompt_id,)
        own_nodes, own_edges, own_targets = nodes_of.get(key), edges_of.get(key), targets_of.get(key)
        if own_nodes is None or own_edges is None or own_targets is None:
            continue
        special = [at for at, token in enumerate(token_ids) if token in special_ids]
        inputs, outputs = profile_instances(own_nodes, own_edges, n_tokens=len(token_ids))
        inputs[:, special] = 0.0
        units, inputs, outputs = _as_units(own_nodes, inputs, outputs, max_units)
        yield _Sides(prompt_id, units, inputs, outputs, list(tokens), own_targets["token"].to_list())


def profile_instances(nodes: pl.DataFrame, edges: pl.DataFrame, *, n_tokens: int) -> tuple[_Floats, _Floats]:
    """Both sides of the neuron instances of one graph, in the order of `nodes` (sorted by node, nodes dense).

    Returns the input sides [neurons, n_tokens], in shares of the instance's value, and the output sides [neurons, logits], in
    logits. An instance whose value is 0 has no input and passes nothing on.
    """
    kind, layer = nodes["kind"].to_numpy(), nodes["layer"].to_numpy()
    value = nodes["activation"].to_numpy().astype(np.float64)
    is_neuron = kind == "neuron"
    weights = np.zeros((len(kind), len(kind)))
    weights[edges["target"].to_numpy(), edges["source"].to_numpy()] = edges["weight"].to_numpy()
    shares = np.divide(weights, value[:, None], out=np.zeros_like(weights), where=(value != 0)[:, None])
    inputs = np.zeros((len(kind), n_tokens))
    embeddings = np.flatnonzero(kind == "embedding")
    inputs[embeddings, nodes["position"].to_numpy()[embeddings]] = 1.0
    logits = np.flatnonzero(kind == "logit")
    outputs = np.zeros((len(kind), len(logits)))
    blocks = [np.flatnonzero(is_neuron & (layer == at)) for at in np.unique(layer[is_neuron])]
    for block in blocks:
        inputs[block] = shares[block] @ inputs
    for block in reversed(blocks):
        outputs[block] = weights[np.ix_(logits, block)].T + shares[:, block].T @ outputs
    return inputs[is_neuron], outputs[is_neuron]


def _as_units(
    nodes: pl.DataFrame, inputs: _Floats, outputs: _Floats, max_units: int
) -> tuple[pl.DataFrame, _Floats, _Floats]:
    """Instances of a unit summed (input sides in units of the value), and the units that matter most kept."""
    instances = nodes.filter(pl.col("kind") == "neuron").select(
        "layer",
        "neuron",
        "relevance",
        polarity=pl.when(pl.col("activation") < 0).then(-1).otherwise(1).cast(pl.Int8),
        size=pl.col("activation").abs().cast(pl.Float64),
    )
    units = instances.select(UNIT).unique().sort(UNIT)
    at = instances.join(units.with_row_index("unit"), on=UNIT, maintain_order="left")["unit"].to_numpy()
    size = instances["size"].to_numpy()
    matters, all_inputs, all_outputs = (
        np.zeros((units.height, values.shape[1])) for values in (size[:, None], inputs, outputs)
    )
    np.add.at(matters, at, np.abs(instances["relevance"].to_numpy())[:, None])
    np.add.at(all_inputs, at, inputs * size[:, None])
    np.add.at(all_outputs, at, outputs)
    kept = np.sort(np.argsort(-matters[:, 0], kind="stable")[:max_units])
    return units[kept.tolist()], all_inputs[kept], all_outputs[kept]


def _pairs(sides: list[_Sides], rows: dict[int, _Ints], *, n_units: int) -> tuple[_Ints, _Ints, _Floats]:
    """Key a * n_units + b, prompt and both cosines of every pair of units in every prompt."""
    keys: list[_Ints] = [np.empty(0, np.int64)]
    prompts: list[_Ints] = [np.empty(0, np.int64)]
    cosines: list[_Floats] = [np.empty((0, 2))]
    for number, side in enumerate(sides):
        if number not in rows:
            continue
        unit = rows[number]  # sorted, so that i < j means a < b
        i, j = np.triu_indices(len(unit), 1)
        inputs, outputs = _unit_rows(side.inputs), _unit_rows(side.outputs)
        keys.append(unit[i] * n_units + unit[j])
        prompts.append(np.full(len(i), number, np.int64))
        cosines.append(np.column_stack([(inputs @ inputs.T)[i, j], (outputs @ outputs.T)[i, j]]))
    return np.concatenate(keys), np.concatenate(prompts), np.concatenate(cosines)


def _unit_rows(values: _Floats) -> _Floats:
    """Every row divided by its length; rows of zeros stay."""
    length = np.linalg.norm(values, axis=1, keepdims=True)
    return np.divide(values, length, out=np.zeros_like(values), where=length > 0)


def _tokens(sides: list[_Sides], rows: dict[int, _Ints]) -> pl.DataFrame:
    """The strongest tokens of every unit, side and prompt."""
    found: list[tuple[int, str, str, float]] = []
    for number, side in enumerate(sides):
        if number not in rows:
            continue
        for name, values, texts in (
            ("input", side.inputs, side.input_tokens),
            ("raises", side.outputs, side.output_tokens),
            ("lowers", -side.outputs, side.output_tokens),
        ):
            total = np.abs(values).sum(axis=1)
            best = np.argsort(-values, axis=1, kind="stable")[:, :TOKENS_KEPT]
            for unit, row, order, whole in zip(rows[number], values, best, total, strict=True):
                found += [(int(unit), name, texts[k], float(row[k] / whole)) for k in order if row[k] > 0]
    schema = {"unit": pl.Int64, "side": pl.String, "token": pl.String, "share": pl.Float64}
    return pl.DataFrame(found, schema=schema, orient="row")
