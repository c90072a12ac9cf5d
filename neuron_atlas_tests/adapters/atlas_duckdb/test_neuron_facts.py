"""What an atlas hands to filters and views."""

from __future__ import annotations

import numpy as np
import pytest

from neuron_atlas.adapters.atlas_duckdb import build_atlas, open_atlas
from neuron_atlas.core.publication import filters as f
from neuron_atlas.core.tables import QUANTILE_LEVELS
from neuron_atlas.errors import BadInput, Incomplete, UnknownName


def neurons(wanted: f.Filter, known) -> set[tuple[int, int, int]]:
    place, layer, neuron = np.nonzero(f.select(wanted, known).anywhere)
    return {(1 - 2 * p, at, n) for p, at, n in zip(place.tolist(), layer.tolist(), neuron.tolist(), strict=True)}


def test_filters_find_what_the_atlas_says(built) -> None:
    with open_atlas(built) as atlas:
        known = atlas.known()
    assert (known.n_layers, known.n_neurons, known.model_revision) == (2, 8, "0" * 64)
    assert neurons(f.Description(keyword="capital", side="output"), known) == {(1, 1, 3), (-1, 0, 2)}
    assert neurons(f.Description(labeler="human"), known) == {(1, 1, 3)}
    assert neurons(f.Description(version="rules/1", side="input"), known) == {(1, 1, 3)}
    assert neurons(f.Cluster(path="1"), known) == {(s, *n) for s in (1, -1) for n in ((1, 3), (0, 2), (0, 1))}
    assert known.modules.filter(layer=1, neuron=3)["name"].to_list() == ["geography circuit: Salem"]
    assert known.best.filter(layer=1, neuron=3, polarity=1)["label"].to_list() == ["says the capital of a state"]


def test_quantiles_are_of_the_largest_corpus_or_the_one_named(tmp_path, tables_of, rows_of, facts) -> None:
    rows = [
        {**row, "quantiles": [float(row["n_tokens"]) * level for level in QUANTILE_LEVELS]}
        for row in rows_of("activation_stats")
    ]
    build_atlas(tmp_path / "a.duckdb", tables_of(activation_stats=rows), facts=facts)
    with open_atlas(tmp_path / "a.duckdb") as atlas:
        known = atlas.known()
        assert known.quantiles[:, 1, 3] == pytest.approx([100 * level for level in QUANTILE_LEVELS])
        assert known.missing_quantiles == 2 * 8 - 2
        small = atlas.known(corpus="small")
        assert small.quantiles[7, 1, 3] == 5.0
        assert np.isnan(small.quantiles[:, 1, 5]).all()
        with pytest.raises(UnknownName, match="Did you mean 'small'"):
            atlas.known(corpus="smal")


class TwoWays:
    """Capitals one way, everything else the other."""

    embedder_id, dimension = "two-ways", 2

    def embed(self, texts) -> np.ndarray:
        return np.array([[1.0, 0.0] if "capital" in text else [0.0, 1.0] for text in texts], np.float32)


def test_meaning_is_compared_by_the_vectors_in_the_file(tmp_path, tables_of, facts, built) -> None:
    build_atlas(tmp_path / "a.duckdb", tables_of(), facts=facts, embedder=TwoWays())
    with open_atlas(tmp_path / "a.duckdb", embedder=TwoWays()) as atlas:
        known = atlas.known()
        wanted = f.Description(similar_to="which capital?", min_similarity=0.9)
        assert neurons(wanted, known) == neurons(f.Description(regex="^[^\n]*capital"), known)
        assert neurons(f.Description(similar_to="capital", top_k=1), known) == {(-1, 0, 2)}
        assert known.meaning is not None
        vectors = known.meaning.vectors(["promotes are", "routes to state capitals", "promotes are"])
        assert vectors.tolist() == [[0, 1], [1, 0], [0, 1]]
    with open_atlas(built) as atlas, pytest.raises(Incomplete, match="needs an embedder"):
        f.select(wanted, atlas.known())


def test_an_atlas_that_does_not_say_its_model_is_refused(tmp_path, tables_of) -> None:
    build_atlas(tmp_path / "a.duckdb", tables_of(), facts={"model_id": "x"})
    with (
        open_atlas(tmp_path / "a.duckdb") as atlas,
        pytest.raises(BadInput, match="model_revision, n_layers, n_neurons"),
    ):
        atlas.known()
