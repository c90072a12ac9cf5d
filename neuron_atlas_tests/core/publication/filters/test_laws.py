"""Filters are sets: and, or and not obey the laws of sets, whatever they are made of and in whatever order they stand."""

from __future__ import annotations

import itertools

import hypothesis.strategies as st
import numpy as np
from hypothesis import HealthCheck, given, settings

from neuron_atlas.core.publication import filters as f
from neuron_atlas.core.publication.filters.selection import POLARITIES, Selection, Size

LEAVES = st.one_of(
    st.builds(f.Layers, first=st.integers(0, 2), last=st.none() | st.just(2)),
    st.builds(f.Neurons, first=st.none(), last=st.integers(0, 3)),
    st.builds(f.Polarity, polarity=st.sampled_from([1, -1])),
    st.builds(f.Cluster, path=st.sampled_from(["3", "3.1", "31", "7"])),
    st.builds(f.Quantile, level=st.sampled_from([1e-7, 1e-4, 0.1]), tail=st.sampled_from(["top", "bottom"])),
    st.builds(f.Attribution, top_k=st.integers(1, 150), sign=st.sampled_from([None, 1, -1]), position=st.integers(-11, 10)),
    st.builds(f.Attribution, threshold=st.sampled_from([0.01, 0.08]), target=st.text(min_size=1, max_size=5)),
    st.builds(f.Tokens, first=st.none() | st.integers(-11, 10), last=st.none() | st.integers(-11, 10)),
    st.builds(f.Tokens, text=st.sampled_from(["the", " Bend", "nowhere", 'a "quoted" one'])),
    st.builds(f.Description, keyword=st.sampled_from(["capital", "FIRES", "%", "a.b", "a) or (b"])),
    st.builds(f.Description, similar_to=st.sampled_from(["capitals", "names"]), top_k=st.integers(1, 4)),
    st.builds(f.Description, score_from=st.sampled_from([None, 0.2, 0.7]), labeler=st.sampled_from(["rules", "human"])),
    st.builds(
        f.Ids,
        items=st.lists(
            st.builds(
                f.Item,
                layer=st.integers(0, 2),
                neuron=st.integers(0, 3),
                polarity=st.sampled_from([None, 1, -1]),
                position=st.none() | st.integers(0, 10),
            ),
            max_size=4,
        ).map(tuple),
    ),
)  # fmt: skip
FILTERS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(f.And, filters=st.lists(inner, max_size=3).map(tuple)),
        st.builds(f.Or, filters=st.lists(inner, max_size=3).map(tuple)),
        st.builds(f.Not, filter=inner),
    ),
    max_leaves=6,
)
quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@given(a=FILTERS, b=FILTERS, c=FILTERS)
@quick
def test_the_laws_of_sets_hold(known, reading, a, b, c) -> None:
    """Reference defects: AND gave other results in another order, and OR fed each part what stood before it."""

    def same(left: f.Filter, right: f.Filter) -> bool:
        return f.select(left, known, reading).equals(f.select(right, known, reading))

    assert same(a & b, b & a)
    assert same(a | b, b | a)
    assert same((a & b) & c, a & (b & c))
    assert same((a | b) | c, a | (b | c))
    assert same(~~a, a)
    assert same(~(a & b), ~a | ~b)
    assert same(~(a | b), ~a & ~b)
    assert same(a & (b | c), (a & b) | (a & c))
    assert same(a & a, a)
    assert same(a & f.EVERYTHING, a)
    assert same(a | f.Or(), a)
    assert same(a & ~a, f.Or())
    assert f.select(a, known, reading).count + f.select(~a, known, reading).count == 3 * 4 * 2 * 11


@given(wanted=FILTERS)
@quick
def test_json_and_words_bring_back_the_same_filter(known, reading, wanted) -> None:
    """Reference defect: without a tag the kind of a filter was guessed from its fields."""
    assert f.read_filter(wanted.to_json()) == wanted
    typed = f.text_of(wanted)
    again = f.filter_of(typed)
    assert f.text_of(again) == typed
    assert f.select(again, known, reading).equals(f.select(wanted, known, reading))


AXES = st.sampled_from([0, 1])


@given(
    n_positions=st.integers(1, 20),
    shapes=st.tuples(*[st.tuples(AXES, AXES, AXES, AXES)] * 2),
    seed=st.integers(0, 2**16),
)
@quick
def test_packed_bits_do_what_python_sets_do(n_positions, shapes, seed) -> None:
    """Any mixture of free and bound coordinates, against sets of tuples (position, polarity, layer, neuron)."""
    size = Size(n_positions, 2, 3)
    everything = set(itertools.product(range(n_positions), POLARITIES, range(2), range(3)))
    random = np.random.default_rng(seed)
    pairs = []
    for bound in shapes:
        shape = [whole if is_bound else 1 for whole, is_bound in zip((n_positions, 2, 2, 3), bound, strict=True)]
        dense = np.broadcast_to(random.random(shape) < 0.5, (n_positions, 2, 2, 3))
        members = {
            (t, POLARITIES[p], layer, n)
            for t, p, layer, n in zip(*(a.tolist() for a in np.nonzero(dense)), strict=True)
        }
        if bound[0]:
            selection = Selection(
                size, np.packbits(dense[:, : shape[1], : shape[2], : shape[3]], axis=0, bitorder="little")
            )
        else:
            selection = Selection.of_mask(size, np.ascontiguousarray(dense[0, : shape[1], : shape[2], : shape[3]]))
        pairs.append((selection, members))
    (one, first), (other, second) = pairs
    for selection, members in (
        (one & other, first & second),
        (one | other, first | second),
        (~one, everything - first),
    ):
        assert selection.count == len(members)
        for place, sign in enumerate(POLARITIES):
            for layer, n in itertools.product(range(2), range(3)):
                inside = {t for t in range(n_positions) if (t, sign, layer, n) in members}
                assert selection.anywhere[place, layer, n] == bool(inside)
                assert selection.everywhere[place, layer, n] == (len(inside) == n_positions)
                assert inside == {t for t in range(n_positions) if selection.at(t)[place, layer, n]}
