"""From tables to cluster labels: what each member brings, and the function behind the asset."""

from __future__ import annotations

import json

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from neuron_atlas.core.circuits.clustering.flow_graph import neuron_edges
from neuron_atlas.core.circuits.naming.cluster_labels import label_clusters
from neuron_atlas.core.circuits.naming.module_evidence import (
    flow_partners,
    label_themes,
    module_members,
    module_tokens,
    prompt_set_shares,
)
from neuron_atlas.core.labeling.evidence.shown_label import best_labels
from neuron_atlas.core.llm_requests import LlmRequest, NoReply
from neuron_atlas.core.tables import (
    CLUSTER_LABELS,
    CLUSTER_MEMBERS,
    CLUSTERS,
    DER_SCORES,
    INPUT_LABELS,
    NEURON_PROFILES,
    OUTPUT_LABELS,
    OUTPUT_PROJECTIONS,
    Table,
)
from neuron_atlas.errors import Incomplete
from neuron_atlas_tests.scripted_model import ScriptedModel


def _table(table: Table, rows: list[dict[str, object]]) -> pl.LazyFrame:
    """A table from the columns that matter; the others get 0, "" or [] (missing where allowed)."""
    blank = {"String": "", "Boolean": False}
    filled = [
        {c.name: row.get(c.name, None if c.optional else [] if "List" in str(c.dtype) else blank.get(str(c.dtype), 0))
         for c in table.columns} for row in rows
    ]  # fmt: skip
    return table.checked(pl.DataFrame(filled, schema=table.schema)).lazy()


def _label(
    neuron: int, label: str | None, *tokens: str, labeler: str = "rules", polarity: int = 1
) -> dict[str, object]:
    return {
        "layer": 0, "neuron": neuron, "polarity": polarity, "labeler": labeler, "label": label, "tokens": list(tokens)
    }  # fmt: skip


@pytest.fixture
def tables() -> dict[str, pl.LazyFrame]:
    """Cluster 1 holds neurons 0 (60 % of its flow), 1 (30 %) and, in 1.1 with 0, nothing else; cluster 2 neurons 3 and 4.

    Neuron 1 matters with negative activation; 0 and 1 are at home in geography.
    """
    paths = {
        0: ("1.1", 1, 0.30),
        1: ("1.1", 1, 0.15),
        2: ("1", 1, 0.05),
        3: ("2", 2, 0.25),
        4: ("2", 2, 0.25),
        5: (None, None, 0.0),
    }
    profile = {"n": 10, "relevance_abs_mean": 1.0}
    return {
        "clusters": _table(
            CLUSTERS,
            [
                {"path": "1", "level": 1, "size": 3, "flow": 0.5},
                {"path": "1.1", "level": 2, "size": 2, "flow": 0.45},
                {"path": "2", "level": 1, "size": 2, "flow": 0.5},
            ],
        ),
        "cluster_members": _table(
            CLUSTER_MEMBERS,
            [{"layer": 0, "neuron": n, "path": p, "top": t, "flow": f} for n, (p, t, f) in paths.items()],
        ),
        "neuron_profiles": _table(
            NEURON_PROFILES,
            [
                {"layer": 0, "neuron": 0, "polarity": 1, "domain": "geography", "domain_z": 5.0, **profile},
                {"layer": 0, "neuron": 1, "polarity": 1, **profile},
                {"layer": 0, "neuron": 1, "polarity": -1, **profile, "n": 30, "domain": "geography", "domain_z": 3.0},
                {"layer": 0, "neuron": 2, "polarity": 1, **profile, "domain": "medicine", "domain_z": 0.5},
            ],
        ),
        "output_labels": _table(
            OUTPUT_LABELS,
            [
                _label(0, "promotes state capitals: Salem, Boise", " Salem", " Boise"),
                _label(1, "promotes plural verbs: are", polarity=1),  # not the polarity in which neuron 1 matters
                _label(1, "promotes state capitals: Austin", " Austin", " Boise", polarity=-1),
                _label(2, "promotes Salem, Boise and Austin"),  # a list, no theme
                _label(3, None),
            ],
        ),
        "input_labels": _table(INPUT_LABELS, [_label(0, "fires on city names (Bend)")]),
        "output_projections": _table(
            OUTPUT_PROJECTIONS,
            [
                {"layer": 0, "neuron": 0, "direction": 1, "rank": 0, "token_id": 7, "token": " Salem", "weight": 4.0},
                {"layer": 0, "neuron": 0, "direction": 1, "rank": 1, "token_id": 8, "token": " Boise", "weight": 2.0},
                {"layer": 0, "neuron": 0, "direction": -1, "rank": 0, "token_id": 9, "token": " are", "weight": -4.0},
                {"layer": 0, "neuron": 1, "direction": -1, "rank": 0, "token_id": 8, "token": " Boise", "weight": -1.0},
                {"layer": 0, "neuron": 2, "direction": 1, "rank": 0, "token_id": 9, "token": " are", "weight": 9.0},
            ],
        ),
    }  # fmt: skip


def test_members_stand_in_every_module_above_them(tables):
    rows = module_members(tables).select("path", "neuron", "share", "polarity").rows()
    assert rows == [
        ("1", 0, pytest.approx(0.6), 1),
        ("1", 1, pytest.approx(0.3), -1),
        ("1", 2, pytest.approx(0.1), 1),
        ("1.1", 0, pytest.approx(2 / 3), 1),
        ("1.1", 1, pytest.approx(1 / 3), -1),
        ("2", 3, 0.5, 1),
        ("2", 4, 0.5, 1),
    ]


def test_members_without_flow_count_alike(tables):
    still = {**tables, "cluster_members": tables["cluster_members"].with_columns(flow=pl.lit(0.0))}
    assert module_members(still).filter(pl.col("path") == "2")["share"].to_list() == [0.5, 0.5]


def test_tokens_by_relative_weight_and_share(tables):
    # Cluster 1: Salem 1 * 0.6; Boise 1/2 * 0.6 + 1 * 0.3 (neuron 1 matters when negative, so its -1 list is what it raises);
    # are 1 * 0.1. A tie at 0.6 goes to the lower token id.
    found = module_tokens(tables, module_members(tables))
    assert found.filter(pl.col("path") == "1")["token"].to_list() == [" Salem", " Boise", " are"]
    assert found.filter(pl.col("path") == "2").is_empty()


def test_what_only_routes_says_little_about_tokens(tables):
    der = _table(DER_SCORES, [{"layer": 0, "neuron": 0, "der": 0.1}, {"layer": 0, "neuron": 1, "der": 1.0}])
    known = {**tables, "der_scores": der}
    found = module_tokens(known, module_members(known))
    assert found.filter(pl.col("path") == "1")["token"].to_list()[0] == " Boise"  # 0.03 + 0.3 against 0.06


def test_themes_are_shares_of_the_labeled_flow(tables):
    found = label_themes(tables, "output_labels", module_members(tables))
    # Neurons 0 and 1 (0.6 + 0.3) say the same; neuron 2 (0.1) only lists tokens.
    assert found.filter(pl.col("path") == "1").drop("tokens").rows() == [
        ("1", "promotes state capitals", pytest.approx(0.9))
    ]
    assert found.filter(pl.col("path") == "2").is_empty()


def test_the_name_of_a_prompt_set_is_no_theme(tables):
    named = {**tables, "output_labels": _table(OUTPUT_LABELS, [_label(0, "promotes geography words: fast, bad")])}
    assert label_themes(named, "output_labels", module_members(named)).is_empty()
    first = label_clusters(named, named, named, evidence=named)["cluster_labels"]["label"][0]
    assert first == "geography circuit: Salem, Boise, are"


def test_a_theme_brings_the_tokens_of_its_labels(tables):
    # Salem first of 0.6; Boise second of 0.6 and of 0.3 (0.3 + 0.15); Austin first of 0.3.
    found = label_themes(tables, "output_labels", module_members(tables)).filter(pl.col("path") == "1")
    assert found["tokens"].to_list() == [[" Salem", " Boise", " Austin"]]


def test_a_members_share_is_of_the_flow_through_it_where_known(tables, wired):
    # 0 hears 10 instances of 3 logits; 1 says 10 of 1 to a token and hears 10 of 2; 2 is silent.
    wires = [("token 4", "L0/N0", -3.0), ("L0/N1", "token 5", 1.0), ("token 6", "L0/N1", 2.0)]
    found = module_members({**tables, **wired(wires)}).filter(pl.col("path") == "1")
    assert found["share"].to_list() == [0.5, 0.5, 0.0]


def test_prompt_sets_need_evidence(tables):
    found = prompt_set_shares(tables, module_members(tables))
    assert found.rows() == [("1", "geography", pytest.approx(0.9)), ("1.1", "geography", pytest.approx(1.0))]


def test_flow_partners_are_of_one_level(tables, wired):
    wires = [("L0/N0", "L0/N1", 9.0), ("L0/N0", "L0/N3", 3.0), ("L0/N2", "L0/N1", 2.0), ("L0/N4", "L0/N0", 1.0)]
    edges = neuron_edges(wired(wires))
    assert flow_partners(edges, tables, inward=False).rows() == [
        ("1", "2", pytest.approx(1.0)),
        ("1.1", "2", pytest.approx(1.0)),
        ("2", "1", pytest.approx(1.0)),
    ]
    # 1.1 hears from 2; what comes from neuron 2, inside 1 but in no submodule, comes from its own parent and is left out.
    assert ("1.1", "2", pytest.approx(1.0)) in flow_partners(edges, tables, inward=True).rows()


def test_the_best_label_is_a_persons_then_a_models_then_the_rules():
    rows = [_label(0, "rules say", labeler="rules"), _label(0, "a person says", labeler="human"),
            _label(1, None, labeler="human"), _label(1, "rules say", labeler="rules"),
            _label(2, "model says", labeler="openai"), _label(2, "zeta says", labeler="zeta")]  # fmt: skip
    found = best_labels(_table(OUTPUT_LABELS, rows).collect())
    assert found["label"].to_list() == ["a person says", "rules say", "model says"]


def test_the_asset_function(tables, wired):
    evidence = {"neuron_profiles": tables["neuron_profiles"], **wired([("L0/N0", "L0/N3", 3.0)])}
    found = label_clusters(tables, tables, tables, evidence=evidence)["cluster_labels"]
    assert_frame_equal(CLUSTER_LABELS.checked(found), found)
    assert found["label"].to_list() == [
        "promotes state capitals: Salem, Boise",  # only neuron 0 is wired, so only it has a share
        "promotes state capitals: Salem, Boise",
        None,
    ]
    assert found["unlabeled_reason"].to_list()[2] == "no member has a label and none promotes a readable token"
    assert found["tokens"].to_list() == [[" Salem", " Boise"], [" Salem", " Boise"], []]
    assert found["score"].null_count() == 3  # no model, no score
    assert "tells most to cluster 2 (100%)" in found["description"][0]


def test_clusters_are_required_all_else_is_not(tables):
    with pytest.raises(Incomplete, match="materialize clusters first"):
        label_clusters({}, tables, tables)
    bare = {name: tables[name] for name in ("clusters", "cluster_members")}
    assert label_clusters(bare, {}, {})["cluster_labels"]["label"].null_count() == 3


def test_no_clusters_no_labels():
    empty = {"clusters": CLUSTERS.empty().lazy(), "cluster_members": CLUSTER_MEMBERS.empty().lazy()}
    assert label_clusters(empty, {}, {})["cluster_labels"].height == 0


def test_a_language_models_names_stand_beside_the_rules_and_come_first(tables):
    names = iter(["promotes capitals of states", None, "promotes plural verb forms"])  # by level, then flow: 1, 2, 1.1

    def answer(request: LlmRequest) -> str | NoReply:
        name = next(names)
        if name is None:
            return NoReply("failed", "the server is away")
        return json.dumps(
            {
                "is_interpretable": True,
                "reason": "",
                "label": name,
                "description": "A sentence about it.",
                "tokens": [" Boise"],
            }
        )

    model = ScriptedModel(answer, name="tiny")
    found = label_clusters(tables, tables, tables, language_model=model)["cluster_labels"]
    assert_frame_equal(CLUSTER_LABELS.checked(found), found)
    rows = {
        (path, who): (label, best)
        for path, who, label, best in found.select("path", "labeler", "label", "is_best").iter_rows()
    }
    assert rows["1", "openai"] == ("promotes capitals of states", True)
    assert rows["1", "rules"][1] is False
    assert rows["1.1", "openai"] == ("promotes plural verb forms", True)
    assert rows["2", "openai"][0] is None
    assert sum(best for _, best in rows.values()) == 3
    lost = found.filter((pl.col("path") == "2") & (pl.col("labeler") == "openai")).row(0, named=True)
    assert lost["unlabeled_reason"] == "no name came: the server is away"
    one = found.filter((pl.col("path") == "1") & (pl.col("labeler") == "openai")).row(0, named=True)
    assert one["tokens"] == [" Boise"]
    assert one["version"].startswith("tiny name-cluster/")
