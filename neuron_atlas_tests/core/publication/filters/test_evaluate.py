"""What each filter holds, by hand (the small world is drawn in `conftest.py`). Tests named `reference_…` are each of a defect of
the published NeuronDB filters and fail on code that has it."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from neuron_atlas.core.publication import filters as f
from neuron_atlas.core.publication.filters.filter_classes import TAILS
from neuron_atlas.core.publication.filters.selection import POLARITIES, Selection, Size
from neuron_atlas.errors import BadInput, DamagedData, Incomplete, UserError


def neurons(wanted: f.Filter, known, reading=None) -> set[str]:
    """`L0/N0+` of every neuron and polarity that is in somewhere."""
    found = f.select(wanted, known, reading).anywhere
    return {f"L{layer}/N{n}{'+' if POLARITIES[p] > 0 else '-'}" for p, layer, n in zip(*np.nonzero(found), strict=True)}


def instances(wanted: f.Filter, known, reading) -> set[tuple[str, int]]:
    """(`L0/N0+`, position) of every item."""
    selection = f.select(wanted, known, reading)
    return {
        (f"L{layer}/N{n}{'+' if POLARITIES[p] > 0 else '-'}", t)
        for t in range(len(reading.tokens))
        for p, layer, n in zip(*np.nonzero(selection.at(t)), strict=True)
    }


# ------------------------------------------------------------------------------------------------------------ descriptions
def test_a_keyword_is_found_in_labels_descriptions_and_tokens_whatever_its_case(known) -> None:
    assert neurons(f.Description(keyword="PROMOTES state"), known) == {"L0/N0+", "L1/N2+"}
    assert neurons(f.Description(keyword="raises salem"), known) == {"L0/N0+"}
    assert neurons(f.Description(keyword="are"), known) == {"L0/N0-"}
    assert neurons(f.Description(keyword="nowhere"), known) == set()


def test_reference_keywords_are_literal(known) -> None:
    """`%`, `_` and `.` were wildcards, and a bracket an error."""
    assert neurons(f.Description(keyword="100%"), known) == {"L0/N1+"}
    assert neurons(f.Description(keyword="a_b"), known) == {"L2/N3-"}
    assert neurons(f.Description(keyword="a.b"), known) == {"L2/N3-"}
    assert neurons(f.Description(keyword="s%c"), known) == set()
    assert neurons(f.Description(keyword="("), known) == set()


def test_a_pattern_is_asked_for_by_name_and_a_bad_one_is_refused(known) -> None:
    assert neurons(f.Description(regex="^promotes .* capitals$"), known) == set()  # the description and tokens follow
    assert neurons(f.Description(regex="(?m)^promotes .* CAPITALS$"), known) == {"L0/N0+", "L1/N2+"}
    for pattern in ("(a", r"\1", "(a{1000}){1000}"):
        with pytest.raises(ValidationError, match="cannot be used"):
            f.Description(regex=pattern)


def test_a_catastrophic_pattern_takes_no_time(known) -> None:
    """Backtracking would take 2^200 steps here; the matcher is linear in the text."""
    long = known.descriptions.with_columns(label=pl.lit("a" * 200 + "!"))
    start = time.process_time()
    assert neurons(f.Description(regex="^(a+)+$"), replace(known, descriptions=long)) == set()
    assert time.process_time() - start < 2


def test_scores_are_bounded_at_both_ends_and_what_has_none_is_left_out(known) -> None:
    assert neurons(f.Description(score_from=0.5), known) == {"L0/N0+", "L1/N2+", "L2/N3-"}
    assert neurons(f.Description(score_to=0.2), known) == {"L0/N0-", "L1/N2+"}
    assert neurons(f.Description(score_from=0.5, score_to=0.75), known) == {"L1/N2+", "L2/N3-"}
    assert neurons(f.Description(interpretability="high"), known) == {"L0/N0+", "L2/N3-"}


def test_reference_the_version_is_applied(known) -> None:
    """It satisfied the validator and changed nothing."""
    assert neurons(f.Description(version="2"), known) == {"L2/N3-"}
    assert neurons(f.Description(version="0", labeler="rules"), known) == {"L1/N2+"}
    assert neurons(f.Description(version="2", labeler="human"), known) == set()


def test_one_description_must_fulfil_everything_and_two_may_share_it(known) -> None:
    """L1/N2 has a person's label, and an older one that says "old": no single one is both."""
    assert neurons(f.Description(labeler="human", keyword="old"), known) == set()
    assert neurons(f.Description(labeler="human") & f.Description(keyword="old"), known) == {"L1/N2+"}


def test_similar_descriptions_come_by_the_nearest_neurons_or_a_least_similarity(known) -> None:
    near = f.Description(similar_to="capitals", top_k=2)
    assert neurons(near, known) == {"L0/N0+", "L1/N2+"}
    assert neurons(f.Description(similar_to="capitals", top_k=1), known) == {
        "L0/N0+"
    }  # equal: the lower layer comes first
    assert neurons(f.Description(similar_to="plural", min_similarity=0.9), known) == {"L0/N0-"}
    assert len(neurons(f.Description(similar_to="names"), known)) == 5
    assert neurons(f.Description(similar_to="capitals", top_k=1, labeler="human"), known) == {"L1/N2+"}


def test_meaning_without_an_embedder_is_refused_with_what_to_do(known) -> None:
    with pytest.raises(Incomplete, match="filter by keyword"):
        f.select(f.Description(similar_to="x"), replace(known, meaning=None))


def test_reference_a_limit_without_an_order_is_refused() -> None:
    """It returned an arbitrary 10,000 rows; and 0 meant 10,000."""
    with pytest.raises(ValidationError, match="top_k and min_similarity need similar_to"):
        f.Description(keyword="x", top_k=5)
    with pytest.raises(ValidationError):
        f.Description(similar_to="x", top_k=0)
    with pytest.raises(ValidationError):
        f.Attribution(top_k=0)


def test_an_empty_description_filter_is_refused() -> None:
    with pytest.raises(ValidationError, match="names at least one thing"):
        f.Description()


# ----------------------------------------------------------------------------------------------------------- neurons by place
def test_reference_ranges_stand_alone_and_are_open_at_either_end(known) -> None:
    """A range of layers or neurons alone was rejected."""
    assert len(neurons(f.Layers(first=1), known)) == 2 * 4 * 2
    assert len(neurons(f.Layers(last=0) & f.Neurons(first=1, last=2), known)) == 2 * 2
    assert len(neurons(f.Layers(), known)) == 3 * 4 * 2
    assert neurons(f.Layers(first=7), known) == set()
    with pytest.raises(ValidationError, match="smaller end first"):
        f.Layers(first=3, last=1)


def test_a_cluster_holds_those_inside_it_and_no_namesakes(known) -> None:
    assert neurons(f.Cluster(path="3"), known) == {"L0/N0+", "L0/N0-", "L0/N1+", "L0/N1-"}
    assert neurons(f.Cluster(path="31"), known) == {"L1/N2+", "L1/N2-"}


def test_reference_a_free_polarity_meets_any(known, reading) -> None:
    """Polarity was part of the key, so a neuron without one never met the same neuron with one."""
    ids = f.Ids(items=(f.Item(layer=0, neuron=0),))
    assert neurons(ids & f.Polarity(polarity=-1), known) == {"L0/N0-"}
    assert neurons(ids & f.Description(keyword="capital"), known) == {"L0/N0+"}
    at_bend = f.Ids(items=(f.Item(layer=0, neuron=0, position=7),))
    assert instances(at_bend & f.Description(keyword="capital"), known, reading) == {("L0/N0+", 7)}


def test_ids_outside_the_model_or_text_are_refused(known, reading) -> None:
    for item in (f.Item(layer=3, neuron=0), f.Item(layer=0, neuron=4)):
        with pytest.raises(BadInput, match="outside a model of 3 layers of 4 neurons"):
            f.select(f.Ids(items=(item,)), known)
    with pytest.raises(BadInput, match="outside the text's 11 tokens"):
        f.select(f.Ids(items=(f.Item(layer=0, neuron=0, position=11),)), known, reading)


# -------------------------------------------------------------------------------------------------------------- of the text
def test_reference_tokens_meet_descriptions_and_keep_their_polarity(known, reading) -> None:
    """Expanding tokens dropped the polarity, so the intersection with any description was empty."""
    wanted = f.Description(keyword="capital") & f.Tokens(text="BEND")
    assert instances(wanted, known, reading) == {("L0/N0+", 7), ("L1/N2+", 7)}


def test_reference_tokens_inside_or_do_not_see_their_neighbours(known, reading) -> None:
    """In an OR they were applied to what the parts before them had found."""
    one = f.Ids(items=(f.Item(layer=0, neuron=0, polarity=1, position=2),))
    either = f.Or(filters=(one, f.Tokens(text="Bend")))
    assert instances(either, known, reading) == instances(one, known, reading) | instances(
        f.Tokens(text="Bend"), known, reading
    )
    assert len(instances(either, known, reading)) == 1 + 3 * 4 * 2


def test_tokens_are_named_by_place_or_text(known, reading) -> None:
    assert {t for _, t in instances(f.Tokens(text="the"), known, reading)} == {1, 4}
    assert {t for _, t in instances(f.Tokens(first=-2), known, reading)} == {9, 10}
    assert {t for _, t in instances(f.Tokens(first=3, last=5, text="the"), known, reading)} == {4}
    with pytest.raises(BadInput, match="position 11 is outside the text's 11 tokens"):
        f.select(f.Tokens(first=11), known, reading)


@pytest.mark.parametrize("level", sorted(TAILS))
def test_reference_every_kept_level_can_be_asked_for(known, reading, level) -> None:
    """1e-6 was offered and raised KeyError; here the limits are ±(1 - log10 level)."""
    top = instances(f.Quantile(level=level, tail="top"), known, reading)
    bottom = instances(f.Quantile(level=level, tail="bottom"), known, reading)
    limit = 1 - np.log10(level)
    expected = {
        (f"L{layer}/N{n}", int(t), bool(reading.activations[layer, t, n] > 0))
        for layer, t, n in zip(*np.nonzero(np.abs(reading.activations) >= np.float32(limit)), strict=True)
        if (layer, n) != (2, 0) and t > 0  # no quantiles; a special token
    }
    assert top | bottom == {(f"{name}{'+' if is_up else '-'}", t) for name, t, is_up in expected}
    assert all(name.endswith("+") for name, _ in top)
    with pytest.raises(ValidationError, match="is not kept; kept are"):
        f.Quantile(level=level / 3)


def test_reference_a_description_beside_a_quantile_keeps_tokens_and_polarity(known, reading) -> None:
    """The description's neurons were returned at all tokens, and in the other polarity."""
    fires = f.Quantile(level=1e-5, tail="top")
    assert instances(fires, known, reading) == {("L0/N0+", 7), ("L1/N2+", 7)}
    for wanted in (fires & f.Description(keyword="capital"), f.Description(keyword="capital") & fires):
        assert instances(wanted, known, reading) == {("L0/N0+", 7), ("L1/N2+", 7)}
    assert instances(fires & f.Description(keyword="plural"), known, reading) == set()


def test_reference_missing_quantiles_are_counted_and_lose_no_description(known, reading) -> None:
    """A missing quantile never matched without a word, and took the neuron's descriptions with it."""
    more = pl.concat([known.descriptions, known.descriptions.head(1).with_columns(layer=pl.lit(2, pl.Int16()))])
    told = replace(known, descriptions=more)
    assert told.missing_quantiles == 1
    assert "L2/N0+" in neurons(f.Description(keyword="capital"), told)
    assert "L2/N0+" not in neurons(f.Quantile(level=0.1, tail="top"), told, reading)
    assert ("L2/N0+", 7) in instances(~f.Quantile(level=0.1, tail="top"), told, reading)
    with pytest.raises(Incomplete, match="no quantiles"):
        f.select(f.Quantile(level=0.1), replace(known, quantiles=known.quantiles * np.nan), reading)


def test_attribution_keeps_the_strongest_with_their_sign(known, reading) -> None:
    """The relevance is planted: that of position t is the activation at 10 - t over 100, so 0.99 stands at position 3, 0.5 at 10,
    -0.09 at 1 and -0.085 at 0."""
    assert instances(f.Attribution(top_k=1), known, reading) == {("L2/N0" + sign(reading, 2, 3, 0), 3)}
    wanted = instances(f.Attribution(threshold=0.06), known, reading)
    assert {t for _, t in wanted} == {0, 1, 3, 10}
    negative = instances(f.Attribution(threshold=0.06, sign=-1), known, reading)
    assert {t for _, t in negative} == {0, 1}
    assert instances(f.Attribution(threshold=0.06, top_k=2, sign=-1), known, reading) == negative


def sign(reading, layer: int, position: int, neuron: int) -> str:
    return "+" if reading.activations[layer, position, neuron] >= 0 else "-"


def test_reference_a_larger_request_after_a_smaller_one_gets_more(known, reading) -> None:
    """The cache forgot how many had been asked for; here the key of the cache is the goal, and all of it is kept."""
    few, many = f.Attribution(top_k=2), f.Attribution(top_k=50, sign=1)
    assert few.goal == many.goal
    assert f.Attribution(target="Salem").goal != f.Attribution(target="Salem", contrast="Austin").goal
    assert f.select(few, known, reading).count == 2
    assert f.select(f.Attribution(top_k=50), known, reading).count == 50


def test_filters_of_a_text_are_refused_without_one(known) -> None:
    for wanted in (f.Tokens(first=0), f.Quantile(level=0.1), f.Attribution()):
        with pytest.raises(BadInput, match="needs a text"):
            f.select(wanted, known)


# ------------------------------------------------------------------------------------------------------------ form and size
def test_reference_filters_say_their_kind(known) -> None:
    assert f.read_filter('{"kind": "layers", "first": 1}') == f.Layers(first=1)
    assert f.read_filter('{"kind": "neurons", "first": 1}') == f.Neurons(first=1)
    for text, place in (
        ('{"first": 1}', "kind"),
        ('{"kind": "layers", "from": 1}', "extra"),
        ('{"kind": "and", "filters": [{"kind": "token"}]}', "filters.0"),
        ("{", "JSON"),
        ("[" * 5000, "JSON"),
    ):
        with pytest.raises(BadInput, match="this is not a filter") as error:
            f.read_filter(text)
        assert place.lower() in str(error.value).lower()


def test_a_filter_tells_its_parts() -> None:
    wanted = f.Not(filter=f.Layers(last=2) & (f.Attribution() | f.Tokens(first=0)))
    assert [part.kind for part in f.parts_of(wanted)] == ["not", "and", "layers", "or", "attribution", "tokens"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("capital", "keyword:capital"),
        ("layr:3", "Did you mean 'layer'"),
        ("layer:x", "names no layers; expected 5, 3..12"),
        ("(layer:3", "missing"),
        ("layer:3)", "left over"),
        ("[layer:3 keyword:x]", "of several"),
        ("[keyword:x keyword:y]", "twice"),
        ("top:0.3", "not kept"),
        ('keyword:"x', "double quotes"),
        ("not", "ends where a term was expected"),
        ("(" * 60 + "layer:1" + ")" * 60, "deep"),
        ("not " * 600 + "layer:1", "deep"),
        ("x" * 20_000, "characters"),
    ],
)
def test_typing_mistakes_are_told(text, complaint) -> None:
    with pytest.raises(UserError, match=complaint):
        f.filter_of(text)


def test_words_read_as_they_are_meant() -> None:
    typed = f.filter_of('"state capitals" layer:2..4 not polarity:- or [keyword:x side:input score:..0.5] at:-1')
    assert typed == f.Or(
        filters=(
            f.And(
                filters=(
                    f.Description(similar_to="state capitals"),
                    f.Layers(first=2, last=4),
                    f.Not(filter=f.Polarity(polarity=-1)),
                )
            ),
            f.Description(keyword="x", side="input", score_to=0.5) & f.Tokens(first=-1, last=-1),
        )
    )


@pytest.mark.parametrize(
    ("text", "ranges", "again"),
    [
        ("layer:2,4..6", [(2, 2), (4, 6)], "layer:2,4..6"),
        ("layer:L2..L5", [(2, 5)], "layer:2..5"),
        ("[layer:L03,5..]", [(3, 3), (5, None)], "layer:3,5.."),
        ("layer:2 or layer:3", [(2, 2), (3, 3)], "layer:2,3"),
        ("layer:..4", [(None, 4)], "layer:..4"),
    ],
)
def test_layers_are_written_as_everywhere(text, ranges, again) -> None:
    layers = tuple(f.Layers(first=first, last=last) for first, last in ranges)
    wanted = f.filter_of(text)
    assert wanted == (layers[0] if len(layers) == 1 else f.Or(filters=layers))
    assert f.text_of(wanted) == again
    assert f.text_of(~wanted & f.Polarity(polarity=1)) == f"not {again} polarity:+"
    assert f.filter_of(f"not {again} polarity:+") == ~wanted & f.Polarity(polarity=1)


def test_reference_a_large_model_takes_megabytes_not_objects() -> None:
    """458,752 neurons and 200 tokens were as many Python objects; here the largest set takes 23 MB, one of neurons 1 MB."""
    size = Size(200, 32, 14336)
    named = Selection.of_mask(size, np.ones((2, 32, 14336), np.bool_))
    one = np.zeros(1, np.int64)
    placed = Selection.of_instances(size, polarity=one + 1, layer=one, neuron=one, position=one)
    assert named.bits.nbytes < 1e6
    assert (named & placed).bits.nbytes < 23e6
    assert (named & placed).count == 1


def test_knowledge_of_another_models_neurons_is_refused(known) -> None:
    with pytest.raises(DamagedData, match="outside a model of 2 layers"):
        replace(known, n_layers=2)
