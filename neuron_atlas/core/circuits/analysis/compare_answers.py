"""Several answers of one prompt compared: what they share, what counts for one alone, and what distinguishes two of them.

An instance **counts** for an answer when its |relevance| is at least tau of that answer's logit (measured against the
vocabulary's mean). **Shared** instances count for all answers with one sign: they serve whatever answers of this kind have in
common. **Specific** ones count for a single answer. **Discriminators** of A over B are the instances whose signed relevance
differs most between the two:

    D(i) = R(i, A) - R(i, B),  the relevance of i to logit A - logit B

D above zero favours A, below zero B; `is_opposed` marks instances that raise one and lower the other, and count for both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from neuron_atlas.core.attribution.effects.answer_relevance import AnswerRelevance, answer_relevance
from neuron_atlas.core.attribution.traceable_model import TraceableModel
from neuron_atlas.core.circuits.analysis.analysis_record import (
    Absent,
    Answers,
    ComparedAnswer,
    Discriminator,
    SharedInstance,
    SpecificInstance,
)
from neuron_atlas.core.circuits.analysis.modules.graph_modules import GraphModules
from neuron_atlas.core.records import AttributionGraph, TraceOptions
from neuron_atlas.errors import BadInput


@dataclass(frozen=True)
class AnswerComparison:
    """The answers of one prompt compared.

    `answers`: answer (0 .. n-1), token_id, token, logit (less the vocabulary's mean), probability, counting (instances that count
    for it), specific (those that count for it alone). Frames of instances hold layer, neuron, position, token, and:
    `shared` and `specific`: relevance (List, logits, by answer), and least (smallest |share of the logit|) or answer;
    `discriminators`: over, under (answers), relevance_over, relevance_under, difference (logits), is_opposed. Strongest first.
    """

    answers: pl.DataFrame
    shared: pl.DataFrame
    specific: pl.DataFrame
    discriminators: pl.DataFrame


def compare_answers(
    found: AnswerRelevance,
    *,
    tau: float = 0.005,
    pairs: Sequence[tuple[int, int]] | None = None,
    most_shared: int = 50,
    most_specific: int = 20,
    most_discriminators: int = 20,
) -> AnswerComparison:
    """Compare answers; `pairs` of answers (by index) to distinguish, by default the first from each other one.

    At most `most_shared` instances, `most_specific` per answer and `most_discriminators` per pair are listed; the counts in
    `answers` are of all. Raises `BadInput` for fewer than two answers or a pair that does not name two of them.
    """
    n = len(found.answer_ids)
    if n < 2:
        raise BadInput(f"comparing answers needs at least two, got {n}; name more target tokens or raise k")
    pairs = [(0, other) for other in range(1, n)] if pairs is None else list(pairs)
    wrong = [pair for pair in pairs if not (0 <= pair[0] < n and 0 <= pair[1] < n and pair[0] != pair[1])]
    if wrong:
        raise BadInput(f"{wrong[0]} is no pair of two different answers; there are {n}, numbered from 0")
    relevance = found.relevance.reshape(n, -1).astype(np.float64)
    size = np.maximum(np.abs(found.logits.astype(np.float64)), 1e-9)[:, None]
    shares = relevance / size
    counts = np.abs(shares) >= tau
    of_one_sign = (relevance > 0).all(axis=0) | (relevance < 0).all(axis=0)
    least = np.where(counts.all(axis=0) & of_one_sign, np.abs(shares).min(axis=0), 0.0)
    alone = counts & (counts.sum(axis=0) == 1)
    shared = _largest(least, most_shared)
    own = [_largest(np.where(alone[a], np.abs(relevance[a]), 0.0), most_specific) for a in range(n)]
    return AnswerComparison(
        answers=pl.DataFrame(
            {
                "answer": pl.Series(range(n), dtype=pl.Int32),
                "token_id": pl.Series(found.answer_ids, dtype=pl.Int32),
                "token": pl.Series(found.answers, dtype=pl.String),
                "logit": pl.Series(found.logits, dtype=pl.Float64),
                "probability": pl.Series(found.probabilities, dtype=pl.Float64),
                "counting": pl.Series(counts.sum(axis=1), dtype=pl.Int32),
                "specific": pl.Series(alone.sum(axis=1), dtype=pl.Int32),
            }
        ),
        shared=_instances(found, shared).with_columns(_by_answer(relevance, shared), least=pl.Series(least[shared])),
        specific=pl.concat(
            [
                _instances(found, at).with_columns(_by_answer(relevance, at), answer=pl.lit(a, pl.Int32))
                for a, at in enumerate(own)
            ]
        ),
        discriminators=pl.concat(
            [_discriminators(found, relevance, counts, pair, tau=tau, most=most_discriminators) for pair in pairs]
        ),
    )


def compare_prompt_answers(
    model: TraceableModel | None,
    graph: AttributionGraph,
    modules: GraphModules,
    *,
    n_answers: int,
    tracing: TraceOptions,
) -> Answers | Absent:
    """The answers of a graph's prompt compared as they are stored, or why they were not: those that the prompt names, or the
    `n_answers` likeliest where it names fewer than two."""
    named = len(graph.prompt.contrast or graph.prompt.target_tokens)
    if model is None:
        return Absent(reason="comparing answers needs the model")
    if named < 2 and n_answers < 2:
        return Absent(reason="fewer than two answers were asked for")
    prompt = graph.prompt if named >= 2 else replace(graph.prompt, target_tokens=())
    rules = graph.summary.rules.split("/")[0]
    found = answer_relevance(model, prompt, k=n_answers, rules=tracing.rules if rules == "unknown" else rules)
    if found.token_ids != graph.summary.token_ids[: graph.summary.position + 1]:
        return Absent(reason="the prompt is encoded to other tokens than those of the graph")
    result = compare_answers(found, tau=tracing.tau)
    at = ["layer", "neuron", "position"]
    of = modules.members.select(*at, "module")

    def rows(frame: pl.DataFrame) -> list[dict[str, object]]:
        named = frame.join(of, on=at, how="left", maintain_order="left")
        return named.with_columns(neuron=pl.format("L{}/N{}", "layer", "neuron")).drop("layer").rows(named=True)

    return Answers(
        answers=tuple(ComparedAnswer(**row) for row in result.answers.drop("answer").iter_rows(named=True)),
        shared=tuple(SharedInstance.model_validate(row) for row in rows(result.shared.drop("least"))),
        specific=tuple(SpecificInstance.model_validate(row) for row in rows(result.specific)),
        discriminators=tuple(Discriminator.model_validate(row) for row in rows(result.discriminators)),
    )


def _discriminators(
    found: AnswerRelevance,
    relevance: NDArray[np.float64],
    counts: NDArray[np.bool_],
    pair: tuple[int, int],
    *,
    tau: float,
    most: int,
) -> pl.DataFrame:
    over, under = pair
    difference = relevance[over] - relevance[under]
    gap = abs(float(found.logits[over]) - float(found.logits[under]))
    at = _largest(np.where(np.abs(difference) >= tau * gap, np.abs(difference), 0.0), most)
    is_opposed = (relevance[over] * relevance[under] < 0) & counts[over] & counts[under]
    return _instances(found, at).with_columns(
        over=pl.lit(over, pl.Int32),
        under=pl.lit(under, pl.Int32),
        relevance_over=pl.Series(relevance[over, at]),
        relevance_under=pl.Series(relevance[under, at]),
        difference=pl.Series(difference[at]),
        is_opposed=pl.Series(is_opposed[at]),
    )


def _largest(values: NDArray[np.float64], most: int) -> NDArray[np.intp]:
    """Places of the largest positive values, largest first; ties by place."""
    order = np.argsort(-values, kind="stable")[:most]
    return order[values[order] > 0]


def _instances(found: AnswerRelevance, at: NDArray[np.intp]) -> pl.DataFrame:
    _, layers, positions, neurons = found.relevance.shape
    layer, position, neuron = np.unravel_index(at, (layers, positions, neurons))
    return pl.DataFrame(
        {
            "layer": pl.Series(layer, dtype=pl.Int16),
            "neuron": pl.Series(neuron, dtype=pl.Int32),
            "position": pl.Series(position, dtype=pl.Int32),
            "token": pl.Series([found.tokens[int(one)] for one in position], dtype=pl.String),
        }
    )


def _by_answer(relevance: NDArray[np.float64], at: NDArray[np.intp]) -> pl.Series:
    return pl.Series("relevance", relevance[:, at].T.tolist(), dtype=pl.List(pl.Float64))
