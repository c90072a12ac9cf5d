"""Direct-effect ratio: how much of a neuron's effect on the goal goes straight to the logits.

A *logit* neuron writes the answer itself; a *routing* neuron works through later neurons. Two measurements, kept apart:

**From graphs, exact** (`der_scores`). Each instance has its relevance (total effect in the linearised model) and `direct`, the part
that passes no other MLP. der = |direct| / (|direct| + |relevance - direct|), 1/2 when both are 0.

**By intervention** (`measure_direct_effects`). The neuron's own activations are set to 0 at every position of the real model, and
the stream that enters the final norm is compared with the clean one. Read by the goal through that norm, frozen at its clean
scale, the whole difference is the `total` effect; what the neuron's decoder column alone would take away is `direct`. The norm is
frozen for both: its change is no other neuron's effect and must not count as indirect. Activations are the actual ones and sums
run in float64: with a unit activation, or logits in half precision, small effects would vanish in rounding. The ratio has the
same form as above. It is stricter: what later attention carries to the goal counts as indirect.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from neuron_atlas.core.aggregation.graphs.fixed_point import as_float
from neuron_atlas.core.ports import SubjectModel, VocabWeights
from neuron_atlas.core.records import Edit, Frames, Tables
from neuron_atlas.core.tables import DER_SCORES
from neuron_atlas.errors import BadInput

Array = NDArray[np.float64]

LOGIT, ROUTING = 0.7, 0.3
"""Above the first a neuron is called `logit`, below the second `routing`, else `mixed`."""

BATCH = 64
"""Ablations run together."""

INTERVENTIONS = pl.Schema(
    {
        "layer": pl.Int16(),
        "neuron": pl.Int32(),
        "prompt_id": pl.String(),
        "total": pl.Float64(),
        "direct": pl.Float64(),
        "ratio": pl.Float64(),
    }
)
"""Columns of `measure_direct_effects`: effects in logits of the goal, ratio 0..1."""


def der_scores(sums: Tables, interventions: pl.DataFrame | None = None) -> Frames:
    """Table `der_scores`, both polarities of a neuron together.

    `sums` needs `neuron_sums`; `interventions` are the rows of `measure_direct_effects`. A neuron that was ablated but appears in
    no graph has no row.
    """
    measured = pl.DataFrame(schema=INTERVENTIONS) if interventions is None else interventions
    by_ablation = measured.group_by("layer", "neuron").agg(
        n_interventions=pl.len().cast(pl.Int64),
        der_intervention=pl.col("ratio").mean(),
        der_intervention_std=pl.col("ratio").std(ddof=0),
    )
    n = pl.col("n").cast(pl.Float64)
    mean = as_float("der_sum_q") / n
    direct, indirect = as_float("direct_abs_sum_q"), as_float("indirect_abs_sum_q")
    relevance = as_float("relevance_sum_q")
    frame = (
        sums["neuron_sums"]
        .group_by("layer", "neuron")
        .agg(
            pl.selectors.ends_with("_q").cast(pl.Int128).sum(),
            pl.col("n").sum(),
            pl.col("der_min").min(),
            pl.col("der_max").max(),
        )
        .select(
            "layer",
            "neuron",
            "n",
            "der_min",
            "der_max",
            der=mean,
            der_std=(as_float("der_sq_sum_q") / n - mean * mean).clip(lower_bound=0).sqrt(),
            der_pooled=pl.when(direct + indirect > 0).then(direct / (direct + indirect)).otherwise(0.5),
            der_signed=pl.when(relevance != 0).then(as_float("direct_sum_q") / relevance),
        )
        .with_columns(
            effect_type=pl.when(pl.col("der") > LOGIT).then(pl.lit("logit"))
            .when(pl.col("der") < ROUTING).then(pl.lit("routing")).otherwise(pl.lit("mixed"))
        )
        .collect()
        .join(by_ablation, on=("layer", "neuron"), how="left")
        .with_columns(pl.col("n_interventions").fill_null(0))
    )  # fmt: skip
    return {DER_SCORES.name: DER_SCORES.checked(frame)}


def measure_direct_effects(
    model: SubjectModel, raw: Tables, *, n_neurons: int = 400, n_prompts: int = 4, seed: int = 0
) -> pl.DataFrame:
    """Ablate neurons in the real model, on prompts whose graphs they appear in. One row per neuron and prompt, columns
    `INTERVENTIONS`.

    `raw` holds tables of `raw_graphs`. Of the neurons, then of each one's prompts, half the budget goes to the largest |relevance|
    and the rest is drawn by `seed`, so that the spread is not that of extreme cases alone. Raises `BadInput` when a budget
    is below 1.
    """
    if n_neurons < 1 or n_prompts < 1:
        raise BadInput(f"expected at least 1 neuron and 1 prompt to ablate, got {n_neurons} and {n_prompts}")
    chosen = _chosen(raw["nodes"], n_neurons, n_prompts, np.random.default_rng(seed))
    wanted = pl.col("prompt_id").is_in(chosen["prompt_id"].unique().implode())
    graphs = raw["graphs"].filter(wanted).select("prompt_id", "token_ids", "position").unique("prompt_id")
    targets = raw["targets"].filter(wanted).select("prompt_id", "node", "token_id", "goal_weight")
    goals = targets.unique(("prompt_id", "node")).collect().partition_by("prompt_id", as_dict=True)
    work = chosen.sort("layer", "neuron").partition_by("prompt_id", as_dict=True)
    decoders = _decoders(model, chosen)
    vocab = model.vocab_weights()
    rows: list[pl.DataFrame] = []
    for prompt_id, token_ids, position in graphs.collect().sort("prompt_id").iter_rows():
        part = work[(prompt_id,)].select("layer", "neuron", "prompt_id")
        ids = list(part.select("layer", "neuron").iter_rows())
        total, direct = _effects(model, token_ids, position, ids, decoders, _goal(vocab, goals[(prompt_id,)]))
        rows.append(part.with_columns(total=pl.Series(total), direct=pl.Series(direct)))
    size, rest = pl.col("direct").abs(), (pl.col("total") - pl.col("direct")).abs()
    ratio = pl.when(size + rest > 0).then(size / (size + rest)).otherwise(0.5)
    frame = pl.concat(rows) if rows else pl.DataFrame(schema={k: v for k, v in INTERVENTIONS.items() if k != "ratio"})
    return frame.with_columns(ratio=ratio).cast(INTERVENTIONS).sort("layer", "neuron", "prompt_id")


def _chosen(nodes: pl.LazyFrame, n_neurons: int, n_prompts: int, rng: np.random.Generator) -> pl.DataFrame:
    """Layer, neuron and prompt_id of what to ablate."""
    seen = (
        nodes.filter(pl.col("kind") == "neuron")
        .group_by("layer", "neuron", "prompt_id")
        .agg(weight=pl.col("relevance").cast(pl.Float64).abs().max())
        .sort("layer", "neuron", "prompt_id")
        .collect()
    )
    strongest = seen.group_by("layer", "neuron").agg(pl.col("weight").max()).sort("layer", "neuron")
    neurons = _half_and_half(strongest, (), n_neurons, rng).select("layer", "neuron")
    return _half_and_half(seen.join(neurons, on=("layer", "neuron"), how="semi"), ("layer", "neuron"), n_prompts, rng)


def _half_and_half(frame: pl.DataFrame, group: tuple[str, ...], budget: int, rng: np.random.Generator) -> pl.DataFrame:
    """Of every group, the heaviest half of the budget and, from the rest, a random other half."""
    place = pl.int_range(pl.len())
    drawn = frame.with_columns(draw=pl.Series(rng.random(frame.height))).sort(
        *group, -pl.col("weight"), maintain_order=True
    )
    heavy = (place.over(group) if group else place) < (budget + 1) // 2
    ranked = drawn.sort(*group, pl.when(heavy).then(-1.0).otherwise(pl.col("draw")), maintain_order=True)
    return ranked.filter((place.over(group) if group else place) < budget).drop("draw", "weight")


def _decoders(model: SubjectModel, chosen: pl.DataFrame) -> dict[tuple[int, int], Array]:
    """Decoder column [D] of every chosen neuron, float64, post-norm weight included."""
    columns: dict[tuple[int, int], Array] = {}
    for (layer,), part in chosen.partition_by("layer", as_dict=True).items():
        mlp = model.mlp_weights(int(layer))
        for neuron in part["neuron"].unique():
            column = mlp.down[:, neuron].astype(np.float64)
            columns[int(layer), neuron] = column if mlp.post_norm is None else column * mlp.post_norm
    return columns


def _goal(vocab: VocabWeights, targets: pl.DataFrame) -> Array:
    """What the goal reads of the stream at unit final-norm scale [D], float64."""
    weights = targets["goal_weight"].to_numpy().astype(np.float64)
    reader = (weights @ vocab.unembedding[targets["token_id"].to_numpy()].astype(np.float64)) * vocab.final_norm
    return reader - reader.mean() if vocab.final_norm_kind == "layer" else reader


def _effects(
    model: SubjectModel,
    token_ids: Sequence[int],
    position: int,
    neurons: Sequence[tuple[int, int]],
    decoders: Mapping[tuple[int, int], Array],
    reader: Array,
) -> tuple[Array, Array]:
    """Total and direct effect [neurons] on the goal (logits), float64. `reader` [D] is what the goal reads of the stream at unit
    final-norm scale."""
    scales = model.frozen_scales(token_ids, position=position).astype(np.float64)
    total = np.empty(len(neurons))
    for first in range(0, len(neurons), BATCH):
        some = neurons[first : first + BATCH]
        edits = [(), *((Edit(layer=layer, neuron=neuron, value=0.0),) for layer, neuron in some)]
        streams = model.final_stream(token_ids, edits=edits, position=position).astype(np.float64)
        total[first : first + len(some)] = (streams[0] - streams[1:]) @ reader * scales[-1]
    (activations,) = model.activations([token_ids])
    direct = [
        (reader @ decoders[layer, neuron]) * activations[layer, position, neuron] * scales[layer] * scales[-1]
        for layer, neuron in neurons
    ]
    return total, np.array(direct)
