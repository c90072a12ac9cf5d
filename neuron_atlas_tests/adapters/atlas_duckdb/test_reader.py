"""Reading: cards, edges, clusters, patterns, SQL; and everything a reader must not be able to do."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import duckdb
import polars as pl
import pytest

from neuron_atlas.adapters.atlas_duckdb import Atlas, open_atlas, query_lines
from neuron_atlas.core.records import NeuronId
from neuron_atlas.errors import BadInput, DamagedData, UnknownName


@pytest.fixture
def atlas(built):
    with open_atlas(built) as found:
        yield found


def test_a_card_holds_all_there_is(atlas: Atlas):
    card = atlas.neuron("L1/N3")
    assert str(card) == "L1/N3: says the capital of a state"
    assert card.description == "A person looked."
    assert card.labels.select("side", "polarity", "label", "metric", "score").rows() == [
        ("output", 1, "says the capital of a state", "intervention", pytest.approx(0.8)),
        ("output", -1, "promotes are", None, None),
        ("input", 1, "fires on Oregon", "detection", pytest.approx(0.6)),
    ]
    assert card.scores.height == 3
    assert card.upstream["other"].to_list() == ["L0/N2", " Oregon", "L0/N1"]
    assert card.downstream["other"].to_list() == [" Salem"]
    assert card.exemplars["tokens"].to_list() == [[" Oregon"]]
    assert card.output_projections["token"].to_list() == [" Salem", " Boise", " are"]
    assert card.input_projections["token"].to_list() == [" Oregon"]
    assert card.token_associations["token"].to_list() == [" Oregon"]
    assert card.cooccurrence["other_neuron"].to_list() == [2]
    assert card.profiles["polarity"].to_list() == [1, -1]
    assert card.der["effect_type"].to_list() == ["logit"]
    assert card.profile_cluster.select("polarity", "cluster", "raised_tokens").rows() == [(1, 4, [" Salem"])]
    assert card.activations["corpus"].to_list() == ["large", "small"]
    assert card.prompts.select("prompt_id", "prompt_set", "text").rows() == [
        ("p1", "geography", "The capital of Oregon is"),
        ("p1", "shared", "The capital of Oregon is"),
    ]
    assert card.cluster.select("path", "label").rows() == [("1", None), ("1.1", "geography circuit: Salem")]


def test_a_card_of_a_neuron_with_little(atlas: Atlas):
    card = atlas.neuron(NeuronId(0, 1))
    assert card.label is None
    assert str(card) == "L0/N1: no label"
    assert card.downstream["label"].to_list() == ["says the capital of a state"]
    assert card.weight_edges.is_empty()
    (weights,) = atlas.neuron("L0/N2").weight_edges.iter_rows(named=True)
    assert (weights["direction"], weights["other"], weights["strength"]) == (1, "L1/N3", 1.0)
    assert weights["label"] == "says the capital of a state"
    assert weights["n_prompts"] == atlas.neuron("L0/N2").downstream["n_prompts"][0]  # the same edge, seen in graphs


def test_always_on_neurons_are_in_nearly_every_graph(atlas: Atlas):
    """p1 is traced in two sets and counts once; p2 is quarantined and does not count."""
    assert atlas.always_on(1.0).rows() == [("L1/N3", 1, 3, 1, 1.0)]
    with pytest.raises(BadInput, match="above 0 and at most 1; got 0"):
        atlas.always_on(0)


def test_unknown_neurons(atlas: Atlas):
    with pytest.raises(UnknownName, match=r"unknown neuron 'L1/N4'; known: L1/N3, L1/N5\."):
        atlas.neuron("L1/N4")
    with pytest.raises(UnknownName, match=r"known: those of layers 0\.\.1"):
        atlas.edges("L7/N0")
    with pytest.raises(BadInput, match="expected the form L18/N6721"):
        atlas.neuron("18/6721")


def test_edges_by_direction_most_flow_first(atlas: Atlas):
    both = atlas.edges("L1/N3")
    assert both.select("direction", "kind", "other", "label", "n").rows() == [
        ("downstream", "logit", " Salem", None, 8),  # 8 * 3 logits
        ("upstream", "neuron", "L0/N2", "routes to state capitals", 4),  # 4 * 2
        ("upstream", "embedding", " Oregon", None, 4),  # 4 * 1
        ("upstream", "neuron", "L0/N1", None, 4),  # 4 * 1/2
    ]
    assert atlas.edges("L1/N3", "downstream").height == 1
    assert atlas.edges("L1/N3", "upstream", limit=2)["other"].to_list() == ["L0/N2", " Oregon"]
    with pytest.raises(BadInput, match="expected upstream, downstream or both"):
        atlas.edges("L1/N3", "sideways")


def test_clusters_and_their_members(atlas: Atlas):
    assert atlas.clusters().select("path", "label").rows() == [("1", None), ("1.1", "geography circuit: Salem")]
    assert atlas.clusters(level=1)["path"].to_list() == ["1"]
    assert atlas.cluster("1")["neuron_id"].to_list() == ["L1/N3", "L0/N2", "L0/N1"]
    assert atlas.cluster("1.1", limit=1)["neuron_id"].to_list() == ["L1/N3"]
    assert atlas.profile_clusters().select("cluster", "input_tokens").rows() == [(4, [" Oregon"])]
    assert atlas.analyses().select("prompt", "module", "name").rows() == [
        ("The capital of Oregon is", 2, "says: Salem"),
        ("The capital of Oregon is", 1, None),
    ]
    with pytest.raises(UnknownName, match=r"unknown cluster '1\.2'"):
        atlas.cluster("1.2")


def test_query_in_the_documented_form(atlas: Atlas):
    assert list(query_lines(atlas.query("CAPITAL"))) == [
        "  L0/N2: routes to state capitals [cluster 1]",
        "  L1/N3: says the capital of a state [cluster 1]",
    ]
    assert list(query_lines(atlas.query("plural"))) == ["  L1/N5: promotes plural verbs: are, were"]
    assert atlas.query("%").is_empty()  # a wildcard is only a character
    assert atlas.query("a", limit=1).height == 1


def test_sql(atlas: Atlas):
    assert atlas.sql("SELECT count(*) AS n FROM neurons").rows() == [(4,)]
    assert atlas.sql("FROM range(1000000)", limit=5).height == 5
    assert atlas.sql("DESCRIBE neurons").height > 20
    assert atlas.sql("SELECT label FROM neurons;  ").height == 4


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("DROP TABLE neurons", "got DROP; expected one SELECT"),
        ("INSERT INTO metadata VALUES ('a', 'b')", "got INSERT"),
        ("CREATE TABLE memory.main.x AS SELECT 1", "got CREATE"),
        ("SELECT 1; SELECT 2", "got SELECT, SELECT"),
        ("", "no statement"),
        ("SET memory_limit = '9GB'", "got SET"),
        ("PRAGMA memory_limit = '9GB'", "got"),
        ("ATTACH '/tmp/other.duckdb'", "got ATTACH"),
        ("COPY neurons TO '/tmp/neurons.csv'", "got COPY"),
        ("INSTALL fts", "got LOAD"),
        ("SELECT * FROM read_text('/etc/hostname')", "failed: Permission Error"),
        ("SELECT * FROM '/etc/hostname'", "failed"),
        ("SELECT * FROM glob('/etc/*')", "failed: Permission Error"),
        ("SELECT nothing FROM neurons", "failed: Binder Error"),
        ("SELEC", "failed: Parser Error"),
        ("EXPLAIN ANALYZE CREATE TABLE memory.main.x AS SELECT 1", "got EXPLAIN"),
    ],
)
def test_sql_can_only_read_the_atlas(atlas: Atlas, query, said):
    with pytest.raises(BadInput, match=said):
        atlas.sql(query)
    assert atlas.sql("SELECT count(*) FROM neurons").item() == 4


def test_a_query_that_takes_too_long_is_stopped(atlas: Atlas):
    with pytest.raises(BadInput, match=r"longer than 0\.2 s"):
        atlas.sql(
            "SELECT count(*) FROM range(10000000) a, range(10000000) b WHERE a.range * b.range % 7 = 3", timeout_s=0.2
        )
    assert atlas.sql("SELECT 1").item() == 1


def test_a_query_that_needs_too_much_memory_is_stopped(built):
    with open_atlas(built, memory_limit="50MB") as small, pytest.raises(BadInput, match="Out of Memory"):
        small.sql("SELECT list(range) FROM range(100000000)")


def test_many_threads_may_ask_at_once(atlas: Atlas):
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: atlas.search("capital")["neuron_id"].to_list(), range(40)))
    assert all(one == found[0] for one in found)


def test_files_that_are_no_atlas(tmp_path, built):
    with pytest.raises(BadInput, match="there is no atlas at"):
        open_atlas(tmp_path / "none.duckdb")
    (tmp_path / "text.duckdb").write_text("hello")
    with pytest.raises(BadInput, match="cannot be opened as an atlas"):
        open_atlas(tmp_path / "text.duckdb")
    with duckdb.connect(tmp_path / "other.duckdb") as other:
        other.execute("CREATE TABLE x AS SELECT 1")
    with pytest.raises(BadInput, match="no atlas"):
        open_atlas(tmp_path / "other.duckdb")
    (tmp_path / "cut.duckdb").write_bytes(built.read_bytes()[:20_000])
    with pytest.raises((BadInput, DamagedData), match="Rebuild it with"):
        open_atlas(tmp_path / "cut.duckdb")


def test_another_version_is_refused_with_the_command(tmp_path):
    path = tmp_path / "old.duckdb"
    with duckdb.connect(path) as old:
        old.execute("CREATE TABLE metadata (key VARCHAR, value VARCHAR)")
        old.execute("INSERT INTO metadata VALUES ('atlas_version', '0')")
    with pytest.raises(
        BadInput, match=r"version 0; this release reads version 3\. Rebuild it with: neuron-atlas build-db"
    ):
        open_atlas(path)


def test_a_path_with_quotes_opens(tmp_path, built):
    path = tmp_path / "it's an atlas.duckdb"
    path.write_bytes(built.read_bytes())
    with open_atlas(path) as atlas:
        assert atlas.sql("SELECT count(*) FROM neurons").item() == 4


def test_everything_comes_as_a_frame(atlas: Atlas):
    for found in (
        atlas.search("capital"),
        atlas.edges("L1/N3"),
        atlas.clusters(),
        atlas.cluster("1"),
        atlas.query("a"),
    ):
        assert isinstance(found, pl.DataFrame)
