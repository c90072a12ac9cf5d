"""Ablation on a model whose answer one can predict: every neuron adds its own amount to one token's logit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest

from neuron_atlas.core.circuits.naming.ablation_scores import AblationBudget, ablation_scores
from neuron_atlas.core.records import Edit, ModelSpec

N_NEURONS, VOCABULARY = 20, 10


class AddingModel:
    """Two layers of 20 neurons. Neuron i of either layer adds `strength` to token i % 10 unless it is set to zero."""

    spec = ModelSpec("adding", "0" * 64, "none", 2, N_NEURONS, 8, VOCABULARY, "float32")

    def __init__(self, strength: np.ndarray | None = None) -> None:
        self.strength = np.ones((2, N_NEURONS)) if strength is None else strength
        self.passes = 0
        self.positions: list[int] = []

    def logits(self, token_ids: Sequence[int], *, edits: Sequence[Sequence[Edit]] = ((),), position: int = -1):
        self.passes += len(edits)
        self.positions.append(position)
        rows = np.zeros((len(edits), VOCABULARY), np.float32)
        for row, edited in zip(rows, edits, strict=True):
            off = {(e.layer, e.neuron) for e in edited if e.how == "set" and e.value == 0 and e.position is None}
            for layer in range(2):
                for neuron in range(N_NEURONS):
                    row[neuron % VOCABULARY] += 0 if (layer, neuron) in off else self.strength[layer, neuron]
        return rows


def _appearances(prompts: Sequence[str] = ("p1", "p2", "p3")) -> pl.DataFrame:
    rows = [(layer, neuron, p, "set", 1.0) for layer in range(2) for neuron in range(N_NEURONS) for p in prompts]
    schema = {
        "layer": pl.Int16,
        "neuron": pl.Int32,
        "prompt_id": pl.String,
        "prompt_set": pl.String,
        "relevance": pl.Float32,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def _graphs(prompts: Sequence[str] = ("p1", "p2", "p3")) -> pl.DataFrame:
    return pl.DataFrame(
        {"prompt_id": list(prompts), "token_ids": [[1, 2, 3]] * len(prompts), "position": [2] * len(prompts)},
        schema={"prompt_id": pl.String, "token_ids": pl.List(pl.Int32), "position": pl.Int32},
    )


def _scores(model: AddingModel, members: list[tuple[str, int, int]], tokens: dict[str, list[int]], **options):
    modules = pl.DataFrame(
        {"path": list(tokens), "level": [1] * len(tokens), "flow": [1.0 / (i + 1) for i in range(len(tokens))]},
        schema={"path": pl.String, "level": pl.Int16, "flow": pl.Float64},
    )
    found = ablation_scores(
        model,
        modules,
        pl.DataFrame(members, schema={"path": pl.String, "layer": pl.Int16, "neuron": pl.Int32}, orient="row"),
        pl.DataFrame(
            [(path, token) for path, ids in tokens.items() for token in ids],
            schema={"path": pl.String, "token_id": pl.Int32},
            orient="row",
        ),
        **{"appearances": _appearances(), "graphs": _graphs(), "budget": AblationBudget(), "seed": 0, **options},
    )
    return {row["path"]: row for row in found.iter_rows(named=True)}


def test_a_module_that_carries_its_token():
    # The four neurons that feed token 3 make a logit of 4; without them it is 0. The mean over ten tokens falls by 0.4, for the
    # module as for any four neurons, and a random set, drawn from the others, never touches token 3: 4 - 0 = 4.
    members = [("1", layer, neuron) for layer in (0, 1) for neuron in (3, 13)]
    found = _scores(AddingModel(), members, {"1": [3]})["1"]
    assert found["score"] == pytest.approx(4.0)
    assert (found["ci_low"], found["ci_high"]) == (pytest.approx(4.0), pytest.approx(4.0))


def test_tokens_a_module_has_nothing_to_do_with():
    # Random sets of two neurons from 18 others sometimes hit token 7; the module never does: at best 0, else below.
    found = _scores(AddingModel(), [("1", 0, 3), ("1", 0, 13)], {"1": [7]})["1"]
    assert found["score"] <= 0
    assert found["ci_high"] <= 0


def test_random_sets_have_the_modules_size_in_every_layer():
    seen: list[list[tuple[int, int]]] = []

    class Watching(AddingModel):
        def logits(self, token_ids, *, edits=((),), position=-1):
            seen.extend([sorted((e.layer, e.neuron) for e in one) for one in edits])
            return super().logits(token_ids, edits=edits, position=position)

    own = [("1", 0, 3), ("1", 0, 13), ("1", 1, 4)]
    _scores(Watching(), own, {"1": [3]}, budget=AblationBudget(prompts=1, random_sets=5))
    clean, module, *drawn = seen
    assert clean == []
    assert module == [(0, 3), (0, 13), (1, 4)]
    assert len(drawn) == 5
    for one in drawn:
        assert [layer for layer, _ in one] == [0, 0, 1]
        assert not set(one) & set(module)
        assert len(set(one)) == 3


def test_prompts_where_the_members_matter_most_are_tested_at_their_position():
    appearances = _appearances(("p1", "p2", "p3")).with_columns(
        relevance=pl.when(pl.col("prompt_id") == "p2").then(5.0).otherwise(1.0).cast(pl.Float32)
    )
    graphs = _graphs().with_columns(position=pl.Series([0, 1, 2], dtype=pl.Int32))
    model = AddingModel()
    budget = AblationBudget(prompts=1)
    found = _scores(model, [("1", 0, 3)], {"1": [3]}, appearances=appearances, graphs=graphs, budget=budget)["1"]
    assert model.positions == [1]
    assert found["ci_low"] is None  # one prompt says nothing about spread


def test_the_budget_is_never_overspent_and_goes_to_larger_flow_first():
    model = AddingModel()
    budget = AblationBudget(passes=60, prompts=3, random_sets=8)  # 30 passes a module
    found = _scores(model, [(p, 0, i) for i, p in enumerate("123")], {"1": [0], "2": [1], "3": [2]}, budget=budget)
    assert set(found) == {"1", "2"}
    assert model.passes == 60


@pytest.mark.parametrize("missing", ["tokens", "prompts", "others"])
def test_modules_that_cannot_be_tested_have_no_score(missing):
    members = [("1", 0, i) for i in range(15 if missing == "others" else 2)]
    graphs = _graphs().clear() if missing == "prompts" else _graphs()
    assert _scores(AddingModel(), members, {"1": [] if missing == "tokens" else [3]}, graphs=graphs) == {}


def test_quarantined_prompts_are_not_tested():
    graphs = _graphs().with_columns(token_ids=pl.when(pl.col("prompt_id") != "p1").then("token_ids"))
    model = AddingModel()
    _scores(model, [("1", 0, 3)], {"1": [3]}, graphs=graphs, budget=AblationBudget(random_sets=4))
    assert model.passes == 2 * (2 + 4)


def test_same_seed_same_scores():
    members = [("1", 0, 3), ("1", 1, 8)]
    strength = np.random.default_rng(0).random((2, N_NEURONS))
    one, two = (_scores(AddingModel(strength), members, {"1": [3]}, seed=5) for _ in range(2))
    assert one == two
