"""A small world whose labels are obvious: a vocabulary of groups, texts that show how its words are used, and neurons that
were written to fire on one group and to promote another. Tables are made by hand from it, so every answer is known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import pytest

from neuron_atlas.core.ports import Array, MlpWeights, VocabWeights
from neuron_atlas.core.records import Edit, Frames, ModelSpec, Prompt
from neuron_atlas.core.tables import ASSETS, Table

TABLES: dict[str, Table] = {table.name: table for tables in ASSETS.values() for table in tables}

GROUPS: dict[str, tuple[str, ...]] = {
    "city": ("Oslo", "Lima", "Rome", "Cairo", "Bern"),  # each text with one says "city" before it
    "drug": ("aspirin", "heparin", "statin", "morphine", "insulin"),  # "drug" comes before
    "number": ("three", "seven", "eleven", "twelve", "nine"),  # a closed class
    "running": ("walking", "singing", "reading", "cooking", "sailing"),  # an ending
    "plural": ("cats", "dogs", "ships", "trees", "kings"),  # after "the", and without -s elsewhere
}
PLAIN = ("cat", "dog", "ship", "tree", "king")
FILLER = ("the", "a", "of", "is", "to", "was", "city", "drug", "calls", "old", "and", "there", "near")
WORDS = (*(word for group in GROUPS.values() for word in group), *PLAIN, *FILLER)
IDS = {word: n for n, word in enumerate(WORDS)}
TEMPLATES = {
    "city": ("the", "old", "city", "of", "{}", "is", "near"),
    "drug": ("a", "drug", "to", "{}", "was", "there"),
    "number": ("there", "was", "{}", "and", "{}", "of", "a"),
    "running": ("a", "{}", "calls", "is", "near"),
    "plural": ("near", "the", "{}", "was", "of"),
}


@dataclass(frozen=True)
class PlantedRole:
    """What one neuron was written to do. `via` is the neuron of the next layer it acts through, if it has no direct effect."""

    layer: int
    neuron: int
    polarity: int
    fires_on: str
    promotes: str
    via: int | None = None

    @property
    def fired(self) -> frozenset[str]:
        return frozenset(GROUPS[self.fires_on])

    @property
    def promoted(self) -> frozenset[str]:
        return frozenset(GROUPS[self.promotes])


def planted_roles() -> list[PlantedRole]:
    """Layer 1: 20 neurons that write logits. Layer 0: 20 that act only through the neuron of the same number in layer 1."""
    names = list(GROUPS)
    pairs = [(fires, promotes) for fires in names for promotes in names if fires != promotes]
    late = [PlantedRole(1, n, 1 if n % 3 else -1, *pair) for n, pair in enumerate(pairs)]
    return [*late, *(PlantedRole(0, r.neuron, 1, r.fires_on, r.promotes, via=r.neuron) for r in late)]


def table(name: str, rows: Sequence[dict[str, object]]) -> pl.DataFrame:
    """Rows as the declared table; columns left out are filled with a quiet value of their type (missing where allowed)."""
    declared = TABLES[name]
    quiet = {pl.String: "", pl.Boolean: False, pl.List: []}
    filled = [
        {c.name: row.get(c.name, None if c.optional else quiet.get(c.dtype.base_type(), 0)) for c in declared.columns}
        for row in rows
    ]
    return declared.checked(pl.DataFrame(filled, schema=declared.schema))


def text_of(kind: str, *words: str) -> list[str]:
    """A sentence of one kind with the given words in its gaps."""
    given = iter(words)
    return [next(given) if word == "{}" else word for word in TEMPLATES[kind]]


def exemplar_rows(
    role: PlantedRole, rng: np.random.Generator, *, held_out: Callable[[int], bool]
) -> list[dict[str, object]]:
    """8 top texts, 6 random ones of other kinds and 4 near misses: texts of its kind without its words."""
    rows: list[dict[str, object]] = []

    def add(kind: str, rank: int, words: list[str]) -> None:
        fires = [role.polarity * (2.0 + rng.random()) if word in role.fired else 0.1 * rng.random() for word in words]
        peak = int(np.argmax([role.polarity * a for a in fires]))
        rows.append(
            {"corpus": "hand", "layer": role.layer, "neuron": role.neuron, "polarity": role.polarity, "kind": kind, "rank": rank,
             "is_held_out": held_out(rank), "text_id": f"{len(rows):03d}{'-'.join(words)}", "tokens": [f" {w}" for w in words],
             "token_ids": [IDS[w] for w in words], "activations": fires, "peak_position": peak,
             "peak_activation": fires[peak]}
        )  # fmt: skip

    def draw(kind: str) -> list[str]:
        return text_of(kind, *rng.choice(GROUPS[kind], size=2))

    for rank in range(8):
        add("top", rank, draw(role.fires_on))
    others = [kind for kind in GROUPS if kind != role.fires_on]
    for rank in range(6):
        add("random", rank, draw(others[rank % len(others)]))
    for rank in range(4):
        add("hard_negative", rank, text_of(role.fires_on, *rng.choice(PLAIN, size=2)))
    return rows


def projection_rows(role: PlantedRole, words: Sequence[str], *, value: str, direction: int) -> list[dict[str, object]]:
    """Its words strongest, others far below."""
    others = [word for word in WORDS if word not in words][:10]
    return [
        {"layer": role.layer, "neuron": role.neuron, "direction": direction, "rank": rank, "token_id": IDS[word],
         "token": word, value: direction * (2.0 - 0.05 * rank if word in words else 0.3 - 0.01 * rank)}
        for rank, word in enumerate([*words, *others])
    ]  # fmt: skip


def small_world(*, seed: int = 0) -> Frames:
    """All evidence tables of `planted_roles`. Held out: every third text."""
    rng = np.random.default_rng(seed)
    rows: dict[str, list[dict[str, object]]] = {
        name: [] for name in ("exemplars", "output_projections", "input_projections")
    }
    rows |= {name: [] for name in ("neuron_profiles", "der_scores", "edge_stats")}
    late = {role.neuron: role for role in planted_roles() if role.layer == 1}
    for role in planted_roles():
        key = {"layer": role.layer, "neuron": role.neuron}
        rows["exemplars"] += exemplar_rows(role, rng, held_out=lambda rank: rank % 3 == 2)
        rows["input_projections"] += projection_rows(
            role, GROUPS[role.fires_on], value="response", direction=role.polarity
        )
        if role.via is None:
            words = GROUPS[role.promotes]
            rows["output_projections"] += projection_rows(role, words, value="weight", direction=role.polarity)
        else:
            target = late[role.via]
            rows["edge_stats"].append(edge(role, target, weight=1.5 * target.polarity))
        rows["neuron_profiles"].append(
            {
                **key,
                "polarity": role.polarity,
                "n": 20,
                "n_prompts": 10,
                "frequency": 0.1,
                "activation_mean": 2.5 * role.polarity,
            }
        )
        der, effect = (0.95, "logit") if role.via is None else (0.02, "routing")
        rows["der_scores"].append({**key, "n": 20, "der": der, "effect_type": effect})
    return {name: table(name, found) for name, found in rows.items()}


def edge(source: PlantedRole, target: PlantedRole, *, weight: float) -> dict[str, object]:
    """An edge between two neurons, seen with the same sign in all of 10 prompts."""
    return {
        "source_kind": "neuron", "source_layer": source.layer, "source": source.neuron, "target_kind": "neuron",
        "target_layer": target.layer, "target": target.neuron, "n": 20, "n_prompts": 10, "weight_mean": weight,
        "sign_agreement": 1.0, "flow_mean": 1.0, "flow_abs_mean": 1.0,
    }  # fmt: skip


@dataclass
class PushModel:
    """A model whose answers one can see: logits are `base` plus, for each edited neuron, value times its row of `writes`.

    One layer of as many neurons as `writes` [I, V] has rows; decoder columns have length 1. Token 0 is BOS.
    """

    writes: Array
    base: float = 1.0
    runs: int = 0

    @property
    def spec(self) -> ModelSpec:
        return ModelSpec("push", "r", "push", 1, self.writes.shape[0], 4, self.writes.shape[1], "float32")

    @property
    def special_ids(self) -> frozenset[int]:
        return frozenset({0})

    def token_text(self, token_id: int) -> str:
        return f" t{token_id}"

    def encode(self, prompt: Prompt) -> list[int]:
        return [0, 1]

    def token_id(self, text: str) -> tuple[int, bool]:
        return int(text.strip()[1:]), True

    def activations(self, token_ids: Sequence[Sequence[int]]) -> Iterator[Array]:
        for ids in token_ids:
            yield np.zeros((1, len(ids), self.writes.shape[0]), np.float32)

    def logits(self, token_ids: Sequence[int], *, edits: Sequence[Sequence[Edit]] = ((),), position: int = -1) -> Array:
        self.runs += len(edits)
        out = np.full((len(edits), self.writes.shape[1]), self.base, np.float32)
        for row, run in enumerate(edits):
            for one in run:
                assert (one.how, one.position) == ("add", len(token_ids) - 1)
                out[row] += one.value * self.writes[one.neuron]
        return out

    def frozen_scales(self, token_ids: Sequence[int], *, position: int = -1) -> Array:
        return np.ones(2, np.float32)

    def mlp_weights(self, layer: int) -> MlpWeights:
        n = self.writes.shape[0]
        square = np.ones((n, 4), np.float32)
        down = np.full((4, n), 0.5, np.float32)
        return MlpWeights(layer, None, square, down, None, None, None, None, "none", 1e-6, "relu")

    def vocab_weights(self) -> VocabWeights:
        raise NotImplementedError


@pytest.fixture(scope="session")
def world() -> Frames:
    return small_world()


@pytest.fixture(scope="session")
def roles() -> list[PlantedRole]:
    return planted_roles()


@pytest.fixture(scope="session")
def make_table() -> Callable[[str, Sequence[dict[str, object]]], pl.DataFrame]:
    return table


@pytest.fixture(scope="session")
def token_ids() -> dict[str, int]:
    return IDS


@pytest.fixture
def push_model() -> type[PushModel]:
    return PushModel
