"""Statistics from sums, with every number worked by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from neuron_atlas.core.aggregation.graphs.edge_stats import edge_statistics, merge_graph_stats
from neuron_atlas.core.aggregation.graphs.graph_stats import sum_graphs
from neuron_atlas.core.records import Frames

Raw = Callable[..., dict[str, pl.LazyFrame]]
WORDS = {5: " five", 6: " six", 7: "\n"}


def profiled(raws: list[dict[str, pl.LazyFrame]], **options: int) -> Frames:
    parts: list[dict[str, pl.LazyFrame]] = []
    for raw in raws:
        name, kind = raw["graphs"].select("prompt_set", "kind").collect().row(0)
        sums = sum_graphs(raw, prompt_set=name, kind=kind, special_ids=frozenset({0}))
        parts.append({k: v.lazy() for k, v in sums.items()})
    return edge_statistics({k: v.lazy() for k, v in merge_graph_stats(parts).items()}, token_text=WORDS, **options)


def test_an_edge_is_averaged_over_instances_and_its_frequency_over_prompts(make_raw: Raw, graph: Any) -> None:
    """L1/N1 appears in 3 prompts; L0/N0 -> L1/N1 in 2 of them, 3 times: weights 1, 2, -1 into v = 2, R = 1."""
    source, other, target = (0, 0, 0, 1.0, 1.0, 0.0), (0, 1, 0, 1.0, 1.0, 0.0), (1, 1, 1, 2.0, 1.0, 1.0)
    frames = profiled(
        [
            make_raw(
                [
                    graph("a" * 16, [5, 6], [source, other, target], edges=[("n0", "n2", 1.0), ("n1", "n2", 2.0)]),
                    graph(
                        "b" * 16,
                        [5, 6],
                        [source, target],
                        edges=[("n0", "n1", -1.0), ("n1", "l0", 0.5), ("e0", "l0", 0.5)],
                    ),
                    graph("c" * 16, [5, 6], [target]),
                ]
            )
        ]
    )
    edges = frames["edge_stats"]
    (row,) = edges.filter((pl.col("source_kind") == "neuron") & (pl.col("target_kind") == "neuron")).iter_rows(
        named=True
    )
    assert (row["n"], row["n_prompts"]) == (3, 2)
    assert row["frequency"] == pytest.approx(2 / 3)
    assert row["weight_mean"] == pytest.approx(2 / 3)  # (1 + 2 - 1) / 3
    assert row["weight_abs_mean"] == pytest.approx(4 / 3)
    assert row["weight_std"] == pytest.approx(math.sqrt(6 / 3 - 4 / 9))
    assert (row["weight_min"], row["weight_max"]) == (-1, 2)
    assert row["sign_agreement"] == pytest.approx(2 / 3)
    assert row["flow_mean"] == pytest.approx(1 / 3)  # half of the weight
    assert row["flow_abs_mean"] == pytest.approx(2 / 3)
    frequency = {(r[0], r[1]): r[2] for r in edges.select("source_kind", "target_kind", "frequency").iter_rows()}
    assert frequency["neuron", "logit"] == pytest.approx(1 / 3)  # of the 3 prompts of its source, L1/N1
    assert frequency["embedding", "logit"] == pytest.approx(1 / 3)  # of all 3 prompts


def test_frequencies_never_exceed_one_however_often_a_neuron_fires(make_raw: Raw, graph: Any) -> None:
    often = [(layer, p, 0, 1.0, 1.0, 0.0) for layer in (0, 1) for p in range(4)]
    edges = [(f"n{i}", f"n{4 + i}", 1.0) for i in range(4)]
    frames = profiled([make_raw([graph("a" * 16, [5, 6, 5, 6], often, edges=edges)])])
    assert frames["edge_stats"].select("n", "n_prompts", "frequency").rows() == [(4, 1, 1.0)]
    assert frames["neuron_profiles"].select("n", "n_prompts", "frequency").rows() == [(4, 1, 1.0)] * 2
    assert frames["token_associations"].select(pl.col("frequency").max()).item() <= 1


def test_a_profile_keeps_polarities_apart(make_raw: Raw, graph: Any) -> None:
    neurons = [(0, 0, 0, 2.0, 1.0, 0.0), (0, 1, 0, -4.0, -3.0, 0.0), (0, 2, 0, -2.0, 1.0, 0.0)]
    profiles = profiled([make_raw([graph("a" * 16, [5, 6, 7], neurons), graph("b" * 16, [5], [])])])["neuron_profiles"]
    columns = (
        "polarity",
        "n",
        "n_prompts",
        "frequency",
        "activation_mean",
        "activation_max",
        "relevance_mean",
        "relevance_abs_mean",
    )
    assert profiles.select(columns).rows() == [
        (-1, 2, 1, 0.5, -3.0, -4.0, -1.0, 2.0),
        (1, 1, 1, 0.5, 2.0, 2.0, 1.0, 1.0),
    ]
    assert profiles["domain"].to_list() == [None, None]  # no baseline to compare with


def test_tokens_are_ranked_by_the_evidence_they_add(make_raw: Raw, graph: Any) -> None:
    """Five 4 times, six twice, newline once among 7 tokens; the neuron fires on both sixes and one five.

    six: share 2/3 against a base of 2/7, lift 7/3; five: 1/3 against 4/7, lift below 1, so not an association.
    """
    fires = [(0, p, 0, 1.0, 1.0, 0.0) for p in (0, 1, 2)]
    frames = profiled([make_raw([graph("a" * 16, [5, 6, 6, 5, 7, 5, 5], fires)])])
    active = frames["token_associations"].filter(pl.col("place") == "active")
    assert active.select("rank", "token_id", "token", "n").rows() == [(0, 6, "six", 2)]
    assert active.select("frequency", "lift").row(0) == pytest.approx((2 / 3, 7 / 3))


def test_answers_are_ranked_like_tokens(make_raw: Raw, graph: Any) -> None:
    """N0 acts on logits 8 and 9, N1 twice on 9: of four links 8 has one, 9 three.

    N0: 8 has 1/2 of its links against 1/4, lift 2; 9 has 1/2 against 3/4, no association. N1: 9 has all against 3/4, lift 4/3.
    """
    neurons = [(0, 0, 0, 1.0, 1.0, 0.0), (0, 0, 1, 1.0, 1.0, 0.0)]
    logits = [(8, 1.0, 1.0), (9, 1.0, 1.0)]
    first = [("n0", "l0", 2.0), ("n0", "l1", 1.0), ("n1", "l1", 1.0), ("n0", "n1", 5.0), ("e0", "l1", 1.0)]
    graphs = [graph("a" * 16, [5], neurons, logits, first), graph("b" * 16, [5], neurons, logits, [("n1", "l1", 3.0)])]
    answers = profiled([make_raw(graphs)])["output_associations"]
    assert answers.select("neuron", "rank", "token_id", "token", "n", "n_prompts", "weight_mean").rows() == [
        (0, 0, 8, "<8>", 1, 1, 2.0),
        (1, 0, 9, "<9>", 2, 2, 2.0),
    ]
    assert answers["frequency"].to_list() == [0.5, 1.0]
    assert answers["lift"].to_list() == pytest.approx([2, 4 / 3])


def test_neighbours_are_ranked_by_jaccard(make_raw: Raw, graph: Any) -> None:
    """Of 4 prompts N0 is in a, b, c; N1 in a, b; N2 in a, b, c, d; N3 in a alone."""
    members = {"a": (0, 1, 2, 3), "b": (0, 1, 2), "c": (0, 2), "d": (2,)}
    graphs = [graph(p * 16, [5], [(0, 0, n, 1.0, 1.0, 0.0) for n in ns]) for p, ns in members.items()]
    together = profiled([make_raw(graphs)])["cooccurrence"].filter(pl.col("neuron") == 0)
    assert together.select("rank", "other_neuron", "n_prompts").rows() == [(0, 2, 3), (1, 1, 2)]  # N3: only one prompt
    assert together["jaccard"].to_list() == pytest.approx([3 / 4, 2 / 3])
    assert together["pmi"].to_list() == pytest.approx([math.log(3 * 4 / (3 * 4)), math.log(2 * 4 / (3 * 2))])


def test_a_specialist_is_told_from_a_generalist(make_raw: Raw, graph: Any) -> None:
    """N0 fires in all 3 prompts of `sums` and in no other; N1 everywhere. Sets of 3, 2 and 2 (baseline) prompts.

    N0: r_d = 3.5/4, r_b = 0.5/3, so r_d / (r_d + r_b) = 21/25 = 0.84;
    z = (ln(3.5/0.5) - ln(0.5/2.5)) / sqrt(1/3.5 + 1/0.5 + 1/0.5 + 1/2.5).
    """
    everyone, special = (0, 0, 1, 1.0, 1.0, 0.0), (0, 0, 0, 1.0, 1.0, 0.0)

    def prompts(name: str, n: int, kind: str = "domain") -> dict[str, pl.LazyFrame]:
        neurons = [special, everyone] if name == "sums" else [everyone]
        return make_raw([graph(f"{name:0>15}{i}", [5], neurons) for i in range(n)], prompt_set=name, kind=kind)

    frames = profiled([prompts("sums", 3), prompts("words", 2), prompts("filler", 2, "baseline")])
    first, second = frames["neuron_profiles"].sort("neuron").iter_rows(named=True)
    assert (first["domain"], first["domain_specificity"]) == ("sums", pytest.approx(0.84))
    assert first["domain_z"] == pytest.approx((math.log(7) - math.log(0.2)) / math.sqrt(1 / 3.5 + 2 + 2 + 1 / 2.5))
    assert second["domain_specificity"] == pytest.approx((3.5 / 4) / (3.5 / 4 + 2.5 / 3))
    assert abs(second["domain_z"]) < 0.2


def test_one_sighting_does_not_make_a_specialist(make_raw: Raw, graph: Any) -> None:
    seen = make_raw(
        [graph(f"{i:016x}", [5], [(0, 0, 0, 1.0, 1.0, 0.0)] if i == 0 else []) for i in range(20)], prompt_set="d"
    )
    base = make_raw([graph(f"{i:016x}", [5], []) for i in range(100, 120)], prompt_set="b", kind="baseline")
    (row,) = profiled([seen, base])["neuron_profiles"].iter_rows(named=True)
    assert row["domain_specificity"] == pytest.approx(0.75)  # 1.5 against 0.5, not 1
    assert row["domain_z"] < 1


def test_a_polarity_does_not_inherit_the_domain_of_the_other(make_raw: Raw, graph: Any) -> None:
    """Positive in all 3 prompts of the domain; negative once, in the baseline."""
    domain = make_raw([graph(f"{i:016x}", [5], [(0, 0, 0, 1.0, 1.0, 0.0)]) for i in range(3)], prompt_set="d")
    base = make_raw([graph("b" * 16, [5], [(0, 0, 0, -1.0, 1.0, 0.0)])], prompt_set="b", kind="baseline")
    negative, positive = profiled([domain, base])["neuron_profiles"].sort("polarity")["domain_specificity"]
    assert positive == pytest.approx((3.5 / 4) / (3.5 / 4 + 0.5 / 2))
    assert negative == pytest.approx((0.5 / 4) / (0.5 / 4 + 1.5 / 2))
