"""What a NeuronDB hands to filters and views: the same as the atlas file would."""

from __future__ import annotations

import numpy as np
import pytest

from neuron_atlas.adapters.neuron_db import NeuronDb, load_labels
from neuron_atlas.adapters.postgres import Server, ensure_database
from neuron_atlas.core.publication import filters as f
from neuron_atlas.core.publication.filters.neuron_facts import NeuronFacts
from neuron_atlas.core.records import ModelSpec, Tables
from neuron_atlas.errors import UnknownName
from neuron_atlas_tests.adapters.neuron_db.conftest import WordEmbedder


def neurons(wanted: f.Filter, known: NeuronFacts) -> set[tuple[int, int, int]]:
    place, layer, neuron = np.nonzero(f.select(wanted, known).anywhere)
    return {(1 - 2 * p, at, n) for p, at, n in zip(place.tolist(), layer.tolist(), neuron.tolist(), strict=True)}


def test_filters_find_what_the_database_says(server: Server, tables: Tables, model: ModelSpec) -> None:
    place = ensure_database(server, "known")
    load_labels(place, model=model, version="v1", tables=tables, embedder=WordEmbedder())
    with NeuronDb(place, embedder=WordEmbedder()) as database:
        known = database.known()
        assert (known.model_revision, known.n_layers, known.n_neurons) == ("revision-1", 4, 1000)
        assert neurons(f.Description(keyword="CITY"), known) == {(1, 0, 1), (1, 1, 2)}
        assert neurons(f.Description(keyword="\x00"), known) == {(1, 0, 1)}
        assert neurons(f.Description(labeler="human"), known) == {(1, 1, 2)}
        assert neurons(f.Description(score_from=0.5), known) == {(1, 1, 2)}
        assert known.best.filter(layer=1, neuron=2)["label"].to_list() == ["river names"]
        assert known.quantiles[:, 0, 1].tolist() == [float(i) for i in range(15)]
        assert known.missing_quantiles == 3999
        assert neurons(f.Description(similar_to="verbs plural", top_k=1), known) == {(-1, 2, 3)}
        assert neurons(f.Description(similar_to="city names", min_similarity=0.6), known) == {(1, 0, 1), (1, 1, 2)}
        assert known.meaning is not None
        texts = ["plural verbs", "river names", "plural verbs"]
        np.testing.assert_allclose(known.meaning.vectors(texts), WordEmbedder().embed(texts), atol=1e-3)
        with pytest.raises(UnknownName, match="corpus"):
            database.known(corpus="huge")
