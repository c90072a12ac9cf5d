"""Activations over a corpus: the tiny model by eye, distributions against numpy on all values."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from neuron_atlas.core.aggregation.corpora import activation_stats as module
from neuron_atlas.core.aggregation.corpora.activation_stats import activation_stats
from neuron_atlas.core.aggregation.corpora.distributions import EDGES, N_BINS, Distributions, bin_of, quantile_ranks
from neuron_atlas.core.hashing import frame_hash
from neuron_atlas.core.ports import MlpWeights, VocabWeights
from neuron_atlas.core.tables import QUANTILE_LEVELS
from neuron_atlas.errors import BadInput, DamagedData

TEXTS = ["the cat the", "dog", "the the the", "cat dog", "dog dog dog", "the cat the"]
"""Five distinct texts, 12 tokens: 2 cats, 5 dogs, 5 times the."""


def test_numbers_over_the_corpus(tiny_model: Any) -> None:
    stats = activation_stats(tiny_model, TEXTS, corpus="pets")["activation_stats"]
    rows = {(r["layer"], r["neuron"]): r for r in stats.iter_rows(named=True)}
    cat = rows[0, 0]  # 2 on a cat, else 0
    assert (cat["n_tokens"], cat["minimum"], cat["maximum"]) == (12, 0, 2)
    assert cat["mean"] == pytest.approx(4 / 12)
    assert cat["std"] == pytest.approx(np.sqrt(8 / 12 - (4 / 12) ** 2))
    assert cat["active_threshold"] == pytest.approx(0.1875)  # 1.5 / 8, the largest edge not above 0.2
    assert (cat["density_positive"], cat["density_negative"]) == (pytest.approx(2 / 12), 0)
    assert rows[0, 1]["density_negative"] == pytest.approx(5 / 12)  # -1 on a dog
    assert cat["quantiles"] == [0] * 8 + [2] * 7  # 10 of 12 values are 0: the median is, the 0.9 quantile is not
    assert sum(cat["histogram_counts"]) == 12
    assert cat["histogram_counts"][0] == 10
    assert len(cat["histogram_edges"]) == len(cat["histogram_counts"]) + 1
    assert cat["histogram_edges"][-1] == 2


def test_top_texts_one_row_each_and_their_tokens(tiny_model: Any) -> None:
    exemplars = activation_stats(tiny_model, TEXTS, corpus="pets", top_k=3)["exemplars"]
    top = exemplars.filter((pl.col("layer") == 0) & (pl.col("neuron") == 0) & (pl.col("kind") == "top"))
    assert top["polarity"].to_list() == [1, 1]  # two texts have a cat, however many others were asked for
    first = top.row(0, named=True)
    assert first["tokens"] == [" the", " cat", " the"]  # no <s>: its embedding of 9 would outshine everything
    assert first["token_ids"] == [3, 1, 3]
    assert first["activations"] == [0, 2, 0]
    assert (first["peak_position"], first["peak_activation"]) == (1, 2)
    dogs = exemplars.filter((pl.col("layer") == 0) & (pl.col("neuron") == 1) & (pl.col("kind") == "top"))
    assert dogs.select("polarity", "rank", "peak_activation").rows() == [(-1, 0, -1), (-1, 1, -1), (-1, 2, -1)]
    assert not exemplars.filter((pl.col("layer") == 1) & (pl.col("neuron") == 1)).height  # it never fires


def test_random_texts_are_not_the_top_ones(tiny_model: Any) -> None:
    exemplars = activation_stats(tiny_model, TEXTS, corpus="pets", top_k=2, n_random=9)["exemplars"]
    own = exemplars.filter((pl.col("layer") == 0) & (pl.col("neuron") == 0))
    ids = {kind: set(own.filter(pl.col("kind") == kind)["text_id"]) for kind in ("top", "random")}
    assert len(ids["top"]) == 2
    assert ids["random"]
    assert not ids["top"] & ids["random"]


class MoodyModel:
    """One neuron that fires (5) on token 1 only after token 2, and is near silent (0.1) on it otherwise."""

    special_ids: frozenset[int] = frozenset()

    def __init__(self, tiny: Any) -> None:
        self.spec = type(tiny.spec)("moody", "0" * 64, "tiny", 1, 1, 1, 4, "float32")

    def token_text(self, token_id: int) -> str:
        return f" {token_id}"

    def encode(self, prompt: Any) -> list[int]:
        return [int(word) for word in prompt.text.split()]

    def activations(self, token_ids: Any) -> Any:
        for ids in token_ids:
            on = [5.0 if b == 1 and a == 2 else 0.1 * (b == 1) for a, b in zip([0, *ids], ids, strict=False)]
            yield np.array(on, np.float32).reshape(1, -1, 1)

    def final_stream(self, token_ids: Any, *, edits: Any = ((),)) -> Any:
        return np.zeros((len(edits), 1), np.float32)

    def mlp_weights(self, layer: int) -> MlpWeights:
        one = np.ones((1, 1), np.float32)
        return MlpWeights(layer, None, one, one, None, None, None, None, "none", 0.0, "relu")

    def vocab_weights(self) -> VocabWeights:
        zeros = np.zeros((4, 1), np.float32)
        return VocabWeights(zeros, zeros, np.ones(1, np.float32), "rms")


@pytest.mark.parametrize("memory", [2**30, 1])
def test_a_near_miss_has_the_token_but_not_the_firing(tiny_model: Any, memory: int) -> None:
    texts = ["2 1", "0 2 1", "3 1 0", "1 3", "0 0", "3 3"]
    frames = activation_stats(MoodyModel(tiny_model), texts, corpus="moods", n_hard=2, memory_bytes=memory)  # pyright: ignore[reportArgumentType]
    near = frames["exemplars"].filter(pl.col("kind") == "hard_negative")
    assert sorted("".join(t) for t in near["tokens"]) == [" 1 3", " 3 1 0"]
    assert near["peak_activation"].to_list() == pytest.approx([0.1, 0.1])
    tops = frames["exemplars"].filter((pl.col("kind") == "top") & (pl.col("peak_activation") == 5))
    assert ["".join(t) for t in tops["tokens"]] == [" 2 1", " 0 2 1"]  # equal peaks: the earlier text first


def test_the_same_seed_gives_the_same_rows_and_held_out_texts(tiny_model: Any) -> None:
    def rows(seed: int, share: float = 0.4) -> pl.DataFrame:
        return activation_stats(tiny_model, TEXTS, corpus="pets", seed=seed, held_out_share=share)["exemplars"]

    assert rows(1).equals(rows(1))
    one = rows(1)
    assert (
        one.group_by("text_id").agg(pl.col("is_held_out").n_unique())["is_held_out"].max() == 1
    )  # a matter of the text
    held = {seed: tuple(sorted(set(rows(seed).filter("is_held_out")["text_id"]))) for seed in range(5)}
    assert len(set(held.values())) > 1  # the seed decides which
    assert not rows(1, 0.0)["is_held_out"].any()
    assert rows(1, 1.0)["is_held_out"].all()


def test_reading_in_little_memory_finds_the_same_texts(tiny_model: Any) -> None:
    rich = activation_stats(tiny_model, TEXTS, corpus="pets")
    poor = activation_stats(tiny_model, TEXTS, corpus="pets", memory_bytes=1)
    assert poor["exemplars"].equals(rich["exemplars"])
    same = [c for c in rich["activation_stats"].columns if c != "quantiles"]
    assert poor["activation_stats"].select(same).equals(rich["activation_stats"].select(same))


def test_progress_reaches_the_number_of_distinct_texts(tiny_model: Any) -> None:
    heard: list[tuple[int, int]] = []
    activation_stats(tiny_model, TEXTS, corpus="pets", progress=lambda done, total: heard.append((done, total)))
    assert heard[-1] == (5, 5)


def test_a_long_text_is_read_up_to_the_limit(tiny_model: Any) -> None:
    stats = activation_stats(tiny_model, ["dog " * 50], corpus="pets", max_tokens=11)["activation_stats"]
    assert stats["n_tokens"].to_list() == [10] * 4  # one of the 11 is <s>


def test_a_text_beyond_the_context_is_read_as_far_as_it_fits(tiny_model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = tiny_model.encode

    def strict(prompt: Any) -> list[int]:
        ids = whole(prompt) if prompt.text.strip() and "?" not in prompt.text else []
        if not 1 < len(ids) <= 9:
            raise BadInput("empty, unreadable or too long")
        return ids

    monkeypatch.setattr(tiny_model, "encode", strict)
    texts = ["dog " * 32, "?", ""]  # 128 characters, halved twice: 8 dogs
    stats = activation_stats(tiny_model, texts, corpus="pets")["activation_stats"]
    assert stats["n_tokens"].to_list() == [8] * 4


def test_an_empty_corpus_and_broken_activations_are_refused(tiny_model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadInput, match="'pets' has no text with a countable token"):
        activation_stats(tiny_model, ["", " "], corpus="pets")
    monkeypatch.setattr(tiny_model, "ups", tiny_model.ups * np.nan)
    with pytest.raises(DamagedData, match=r"activation of L0/N0 on text .* is not finite"):
        activation_stats(tiny_model, TEXTS, corpus="pets")


# ------------------------------------------------------------------------------------------------------------- distributions
def test_every_value_lies_in_its_bin() -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=2000) * 10.0 ** rng.integers(-6, 3, 2000), EDGES, [0.0, -0.0, 1e30, -1e30]])
    x = x.astype(np.float32)
    number = bin_of(x)
    low, high = EDGES[number], EDGES[number + 1]
    beyond = np.abs(x) > EDGES[-1]
    above = (x > low) & (x <= high)  # a positive value shares its bin with the upper edge
    below = (x >= low) & (x < high)  # a negative one with the lower
    middle = (number == N_BINS // 2) & (np.abs(x) <= EDGES[N_BINS // 2 + 1])
    assert (np.where(x > 0, above, below) | middle | beyond).all()
    assert set(number[beyond]) == {0, N_BINS - 1}


def filled(values: np.ndarray, memory: int, pieces: int = 7) -> dict[str, Any]:
    distributions = Distributions((1, 1), memory_bytes=memory)
    for piece in np.array_split(values, pieces):
        distributions.add(piece.reshape(1, -1, 1))
    return distributions.frame().row(0, named=True)


def test_quantiles_are_observed_values() -> None:
    values = np.random.default_rng(1).normal(size=5000).astype(np.float32)
    got = filled(values, 2**30)["quantiles"]
    assert got == [float(v) for v in np.quantile(values, QUANTILE_LEVELS, method="inverted_cdf")]
    assert quantile_ranks(1) == [0] * 15
    assert quantile_ranks(10)[6:9] == [0, 4, 8]  # a tenth, half and nine tenths of ten values


def test_without_memory_tails_stay_exact_and_the_middle_stays_in_its_bin() -> None:
    values = (np.random.default_rng(2).standard_t(3, size=20_000) * 2).astype(np.float32)
    exact, rough = filled(values, 2**30), filled(values, 1)
    tails = [
        i for i, level in enumerate(QUANTILE_LEVELS) if min(level, 1 - level) < 7e-4
    ]  # 16 values kept at either end
    assert len(tails) == 8
    for i, (a, b) in enumerate(zip(exact["quantiles"], rough["quantiles"], strict=True)):
        if i in tails:
            assert a == b
        else:
            assert abs(a - b) <= 0.25 * abs(a) + 1e-3
    assert {k: v for k, v in exact.items() if k != "quantiles"} == {k: v for k, v in rough.items() if k != "quantiles"}


def test_density_counts_exactly_what_exceeds_the_published_threshold() -> None:
    values = np.random.default_rng(3).normal(size=3000).astype(np.float32)
    row = filled(values, 2**30)
    assert 0.075 * np.abs(values).max() < row["active_threshold"] <= 0.1 * np.abs(values).max()
    assert row["density_positive"] == (values > row["active_threshold"]).mean()
    assert row["density_negative"] == (values < -row["active_threshold"]).mean()
    counts, _ = np.histogram(values, bins=row["histogram_edges"])
    assert sum(row["histogram_counts"]) == counts.sum() == 3000


class Memory:
    """A `SavedPass` that keeps every state."""

    def __init__(self) -> None:
        self.states: list[tuple[str, dict[str, Any]]] = []

    def load(self, key: str) -> dict[str, Any] | None:
        return next((state for own, state in reversed(self.states) if own == key), None)

    def offer(self, key: str, state: Any) -> None:
        self.states.append((key, {name: value.copy() for name, value in state().items()}))


@pytest.mark.parametrize("memory", [2**30, 600])
def test_an_interrupted_pass_goes_on_and_ends_like_an_unbroken_one(
    tiny_model: Any, monkeypatch: pytest.MonkeyPatch, memory: int
) -> None:
    """With all activations at hand, and with extremes, sketches and few token means only."""
    monkeypatch.setattr(module, "BATCH_TOKENS", 4)
    whole = activation_stats(tiny_model, TEXTS, corpus="pets", memory_bytes=memory)
    saved, honest, runs = Memory(), tiny_model.activations, list[int]()

    def interrupted(ids: Any) -> Any:
        runs.append(len(ids))
        if len(runs) == 3:
            raise KeyboardInterrupt
        return honest(ids)

    monkeypatch.setattr(tiny_model, "activations", interrupted)
    with pytest.raises(KeyboardInterrupt):
        activation_stats(tiny_model, TEXTS, corpus="pets", memory_bytes=memory, saved=saved)
    heard: list[int] = []
    rest = activation_stats(
        tiny_model, TEXTS, corpus="pets", memory_bytes=memory, saved=saved, progress=lambda done, of: heard.append(done)
    )
    assert heard[0] > sum(runs[:2])  # the first batches are not run again
    assert {name: frame_hash(frame) for name, frame in rest.items()} == {
        name: frame_hash(frame) for name, frame in whole.items()
    }


def test_a_state_of_another_pass_is_worth_nothing(tiny_model: Any) -> None:
    saved = Memory()
    activation_stats(tiny_model, TEXTS, corpus="pets", saved=saved)
    states = len(saved.states)
    other = activation_stats(tiny_model, TEXTS[:3], corpus="pets", saved=saved)
    assert len(saved.states) > states
    assert other["activation_stats"]["n_tokens"][0] == 7
