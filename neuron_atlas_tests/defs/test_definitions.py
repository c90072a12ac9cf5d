"""The asset graph as drawn, and what loading it costs: nothing heavy, no network, no database."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from neuron_atlas import demo
from neuron_atlas.core.tables import ASSETS
from neuron_atlas.definitions import build_definitions
from neuron_atlas.defs.asset_registry import ASSET_REGISTRY, IO_MANAGERS
from neuron_atlas.defs.running.run_plan import LAST_PARTITION_FIRST, RUN_ORDER, select_assets
from neuron_atlas.errors import BadInput, UnknownName
from neuron_atlas.settings import Settings

READS = {
    "raw_graphs": "",
    "faithfulness": "",
    "graph_stats": "raw_graphs",
    "edge_stats": "graph_stats",
    "activation_stats": "",
    "output_projections": "",
    "input_projections": "",
    "der_scores": "graph_stats raw_graphs",
    "output_labels": "activation_stats der_scores edge_stats output_labels output_projections",
    "input_labels": "activation_stats edge_stats input_labels input_projections output_labels",
    "label_scores": "activation_stats edge_stats input_labels output_labels",
    "clusters": "edge_stats raw_graphs",
    "profile_clusters": "clusters raw_graphs",
    "cluster_labels": "clusters der_scores edge_stats input_labels output_labels output_projections raw_graphs",
    "analyses": "",
    "atlas": "activation_stats analyses cluster_labels clusters der_scores edge_stats faithfulness graph_stats input_labels "
    "profile_clusters "
    "input_projections label_scores output_labels output_projections raw_graphs",
    "neuron_db": "activation_stats cluster_labels clusters input_labels label_scores output_labels",
}
GROUPS = {
    "attribution": "raw_graphs faithfulness",
    "aggregation": "graph_stats edge_stats activation_stats output_projections input_projections der_scores",
    "labeling": "output_labels input_labels label_scores",
    "circuits": "clusters profile_clusters cluster_labels",
    "publication": "analyses atlas neuron_db",
}


@pytest.fixture(scope="module")
def definitions(tmp_path_factory: pytest.TempPathFactory) -> dg.Definitions:
    return build_definitions(Settings(home=tmp_path_factory.mktemp("home")))


def specs(definitions: dg.Definitions) -> dict[str, dg.AssetSpec]:
    return {spec.key.path[-1]: spec for spec in definitions.resolve_all_asset_specs()}


def test_dagster_can_load_it(definitions: dg.Definitions):
    dg.Definitions.validate_loadable(definitions)


def test_the_graph_is_as_drawn(definitions: dg.Definitions):
    found = {name: " ".join(sorted(d.asset_key.path[-1] for d in s.deps)) for name, s in specs(definitions).items()}
    assert found == {name: " ".join(sorted(reads.split())) for name, reads in READS.items()}


def test_groups_are_the_five_stages(definitions: dg.Definitions):
    assert {n: s.group_name for n, s in specs(definitions).items()} == {
        asset: group for group, assets in GROUPS.items() for asset in assets.split()
    }


def test_every_asset_has_a_description_owners_kinds_and_a_code_version(definitions: dg.Definitions):
    for name, spec in specs(definitions).items():
        assert len(spec.description or "") > 120, name
        assert all((spec.owners, spec.kinds, spec.code_version)), name


def test_registry_and_definitions_agree(definitions: dg.Definitions):
    keys = {
        None: None,
        "prompt_set": ["arithmetic", "filler", "geography", "grammar", "medicine", "multilingual"],
        "corpus": ["small_world"],
        "layer": [f"L{layer:02d}" for layer in range(6)],
    }
    assert set(ASSET_REGISTRY) == set(specs(definitions))
    assert set(ASSETS) == {asset for asset, entry in ASSET_REGISTRY.items() if entry.store != "published"}
    for name, spec in specs(definitions).items():
        entry = ASSET_REGISTRY[name]
        found = spec.partitions_def.get_partition_keys() if spec.partitions_def else None
        assert found == keys[entry.partitioned_by], name
        manager = definitions.resolve_assets_def(spec.key).get_io_manager_key_for_asset_key(spec.key)
        if name == "raw_graphs":
            assert manager == "graph_io_manager"
        elif entry.store != "published":
            assert manager == IO_MANAGERS[entry.store], name


def test_what_an_asset_reads_runs_before_it(definitions: dg.Definitions):
    done: set[str] = set()
    for together in RUN_ORDER:
        for asset in together:
            reads = {d.asset_key.path[-1] for d in specs(definitions)[asset].deps} - {asset}
            assert reads <= done, asset
            done.add(asset)


def test_output_labels_alone_run_from_the_last_layer_down(definitions: dg.Definitions):
    def order(asset: str) -> dict[str, list[str]]:
        (own,) = [d for d in specs(definitions)[asset].deps if d.asset_key.path[-1] == asset]
        assert isinstance(own.partition_mapping, dg.StaticPartitionMapping)
        return {
            k: list(v) for k, v in own.partition_mapping.downstream_partition_keys_by_upstream_partition_key.items()
        }

    assert {"output_labels"} == LAST_PARTITION_FIRST
    assert order("output_labels")["L02"] == ["L00", "L01"]
    assert order("input_labels")["L02"] == ["L03", "L04", "L05"]


def test_pools_keep_scarce_things_scarce(definitions: dg.Definitions):
    graph = definitions.resolve_asset_graph()
    pools = {key.path[-1]: (graph.get(key).pools or {None}) for key in graph.toposorted_asset_keys}
    assert pools["raw_graphs"] == pools["activation_stats"] == pools["label_scores"] == {"gpu"}
    assert pools["output_labels"] == pools["input_labels"] == {"llm"}
    for asset, entry in ASSET_REGISTRY.items():
        if entry.store == "duckdb":
            assert pools[asset] == {"duckdb"}, asset


def test_selections(definitions: dg.Definitions):
    assert select_assets("circuits", definitions) == ["clusters", "profile_clusters", "cluster_labels"]
    assert select_assets(["neuron_db", "graph_stats"], definitions) == ["graph_stats", "neuron_db"]
    after = ["clusters", "profile_clusters", "cluster_labels", "atlas", "neuron_db"]
    assert select_assets("clusters+", definitions) == after
    assert set(select_assets("*", definitions)) == set(ASSET_REGISTRY)
    with pytest.raises(UnknownName, match="Did you mean 'labeling'"):
        select_assets("labelling", definitions)
    with pytest.raises(BadInput, match="kind:"):
        select_assets("no such (thing", definitions)


def test_a_wrong_setting_is_named(tmp_path: Path):
    with pytest.raises(BadInput, match="NEURON_ATLAS_PROMPTS"):
        build_definitions(Settings(home=tmp_path, prompts=tmp_path / "nowhere"))


def test_no_secret_reaches_dagster(tmp_path: Path):
    secret = "secret-5b1f"
    secrets = {"pg_password": secret, "openai_api_key": secret, "labeler": "openai"}
    settings = Settings.model_validate({"home": tmp_path, "pg_host": "db.example", **secrets})
    definitions = build_definitions(settings)
    job = definitions.resolve_implicit_global_asset_job_def()
    assert secret not in "".join(map(repr, (definitions.resources or {}).values()))
    assert secret not in dg.serialize_value(job.get_job_snapshot())


def test_loading_imports_neither_torch_nor_a_client_nor_matplotlib(tmp_path: Path):
    """In a process of its own, with nothing in the environment and sockets forbidden."""
    code = """
import socket, sys, time
def refuse(*a, **k): raise OSError("no network in this test")
socket.socket.connect = refuse
import dagster
began = time.perf_counter()
from neuron_atlas.definitions import build_definitions
dagster.Definitions.validate_loadable(build_definitions())
heavy = ("torch", "transformers", "openai", "matplotlib", "psycopg", "infomap")
print(time.perf_counter() - began, [m for m in heavy if m in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(demo.MODEL_DIR.parents[2])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split(" ", 1)[1].strip() == "[]"
