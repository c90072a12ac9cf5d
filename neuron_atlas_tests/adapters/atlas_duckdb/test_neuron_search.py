"""Searching the neurons of an atlas by words: the ranking by hand, and queries people type."""

from __future__ import annotations

import math

import polars as pl
import pytest

from neuron_atlas.adapters.atlas_duckdb import Atlas, open_atlas
from neuron_atlas.errors import BadInput


@pytest.fixture
def atlas(built):
    with open_atlas(built) as found:
        yield found


def _ids(found: pl.DataFrame) -> list[str]:
    return found["neuron_id"].to_list()


def test_those_who_say_it_best_first(atlas):
    found = atlas.search("state capitals")
    assert _ids(found) == ["L0/N2", "L1/N3"]  # both say it in their label; the first has less else to say
    assert found["score"].is_sorted(descending=True)


def test_bm25_by_hand(atlas):
    # "plural" stands once, in the label of L1/N5 (weight 4); three of four neurons have text; "verb" is not asked.
    documents = atlas.sql("SELECT * FROM search_documents")
    length = documents.filter(pl.col("layer") == 1, pl.col("neuron") == 5)["length"].item()
    mean = documents["length"].mean()
    idf = math.log(1 + (documents.height - 1 + 0.5) / (1 + 0.5))
    expected = idf * 4 * 2.2 / (4 + 1.2 * (0.25 + 0.75 * length / mean))
    assert atlas.search("plural")["score"].item() == pytest.approx(expected)


def test_a_beginning_counts_less_than_the_word(atlas):
    whole, begun = atlas.search("plural")["score"].item(), atlas.search("plur")["score"].item()
    assert begun == pytest.approx(0.6 * whole)


def test_a_part_of_a_word_is_found_when_nothing_begins_with_it(atlas):
    assert _ids(atlas.search("lural")) == ["L1/N5"]


def test_all_words_found_beats_some(atlas):
    both = atlas.search("plural zebra")
    assert _ids(both) == ["L1/N5"]
    assert both["score"].item() == pytest.approx(atlas.search("plural")["score"].item() / 2)
    assert both["matched"].to_list() == [["plural"]]


@pytest.mark.parametrize(
    ("text", "first"),
    [("SALEM", "L1/N3"), ("boise", "L1/N3"), ("circuit", "L0/N2"), ("a person looked", "L1/N3"), ("verbs are", "L1/N5"),
     ("oregon", "L1/N3"), ("feeds", "L0/N2")],
)  # fmt: skip
def test_labels_descriptions_tokens_clusters_and_domains_are_searched(atlas, text, first):
    assert _ids(atlas.search(text))[0] == first


def test_layers_and_limit(atlas):
    assert set(_ids(atlas.search("capitals", layers=[0]))) == {"L0/N2"}
    assert atlas.search("capitals", layers=[]).is_empty()
    for text, same in (("0", [0]), ("..0", [0]), ("1..", [1]), ("L0,1", [0, 1]), ("7..9", [])):
        assert atlas.search("capitals", layers=text).equals(atlas.search("capitals", layers=same)), text
    with pytest.raises(BadInput, match="names no layers"):
        atlas.search("capitals", layers="first")
    assert atlas.search("capitals", 1).height == 1


def test_nothing_found_is_an_empty_frame(atlas):
    found = atlas.search("zebra")
    assert found.height == 0
    assert found.columns[:4] == ["neuron_id", "layer", "neuron", "score"]


@pytest.mark.parametrize("text", ["", "   ", "!?", "%_"])
def test_a_search_needs_a_letter_or_digit(atlas, text):
    with pytest.raises(BadInput, match="at least one letter or digit"):
        atlas.search(text)


def test_limits_of_a_search(atlas):
    with pytest.raises(BadInput, match="at most 1000"):
        atlas.search("a" * 1001)
    with pytest.raises(BadInput, match="expected at least 1"):
        atlas.search("capital", 0)
    assert atlas.search(
        " ".join(f"w{i}" for i in range(200)) + " salem"
    ).is_empty()  # words beyond the 32nd do not count


@pytest.mark.parametrize(
    "text", ["'; DROP TABLE neurons; --", "salem' OR '1'='1", 'salem" ; ATTACH', "$words salem", "salem\\"]
)
def test_hostile_text_is_only_text(atlas: Atlas, text):
    atlas.search(text)
    atlas.query(text)
    assert atlas.sql("SELECT count(*) FROM neurons").item() == 4
