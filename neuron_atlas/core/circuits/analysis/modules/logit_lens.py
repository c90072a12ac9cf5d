"""Which tokens a module writes: the logit lens of what its members add to the residual stream.

What the members add together, each with its activation on this prompt, is read by the unembedding as if it were at the traced
position: the sum of a · W_U (g * P W_d[:, n]) with the norm scales of this run (frozen), less the mean over the vocabulary. For
members at the traced position this is their direct effect on every logit; for others it is what their effect would be if attention
carried it there unchanged (logit lens: nostalgebraist 2020).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from neuron_atlas.core.aggregation.weights.projections import output_directions
from neuron_atlas.core.ports import Array, SubjectModel
from neuron_atlas.core.records import AttributionGraph


def module_logits(model: SubjectModel, graph: AttributionGraph, members: pl.DataFrame) -> dict[int, Array]:
    """What every module adds to the logits [V], centred, by module number. `members`: see `GraphModules`."""
    spec, vocab = model.spec, model.vocab_weights()
    scales = model.frozen_scales(graph.summary.token_ids, position=graph.summary.position)
    inside = members.drop_nulls("module")
    written = {number: np.zeros(spec.d_model, np.float32) for number in inside["module"].unique().sort().to_list()}
    for (layer,), rows in inside.group_by("layer", maintain_order=True):
        assert isinstance(layer, int)
        directions = output_directions(model.mlp_weights(layer), vocab) * (scales[layer] * scales[-1])
        for number, neuron, activation in rows.select("module", "neuron", "activation").iter_rows():
            written[number] += np.float32(activation) * directions[:, neuron]
    logits = {number: vocab.unembedding @ vector for number, vector in written.items()}
    return {number: one - one.mean() for number, one in logits.items()}


def extreme_tokens(logits: Array, k: int, *, sign: int = 1) -> Sequence[int]:
    """The ids of the k tokens raised most (sign 1) or lowered most (-1), strongest first; none on the other side of 0."""
    order = np.argsort(-sign * logits, kind="stable")[:k]
    return [int(one) for one in order if sign * logits[one] > 0]
