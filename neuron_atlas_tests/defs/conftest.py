"""What the tests of defs share: rows of any declared table, settings in an empty folder, a toy atlas."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from neuron_atlas.adapters.tables.lake import Lake
from neuron_atlas.core import tables
from neuron_atlas.core.records import Frames, Tables, layer_of_key
from neuron_atlas.core.tables import Table
from neuron_atlas.defs.asset_decorators import stored_asset
from neuron_atlas.defs.checks.before_storing import checks_of
from neuron_atlas.defs.io_managers import ParquetIOManager
from neuron_atlas.defs.layer_dependencies import allow_layer_order
from neuron_atlas.defs.partitions import Partitions
from neuron_atlas.defs.resources.locations import LakeResource
from neuron_atlas.defs.running.materialize import InProcessRunner, RunStep
from neuron_atlas.defs.running.staleness import StoredAssets
from neuron_atlas.defs.storage.provenance import FingerprintedResource, partition_name
from neuron_atlas.defs.storage.stores import LakeStore
from neuron_atlas.settings import Settings

Rows = Callable[..., pl.DataFrame]


def pytest_configure(config: pytest.Config) -> None:
    """Dagster 1.13.27 calls a method of its own that it deprecates whenever a configurable IO manager starts."""
    config.addinivalue_line("filterwarnings", "ignore:InitResourceContext.dagster_run:DeprecationWarning")


def rows_of(table: Table, *rows: dict[str, object]) -> pl.DataFrame:
    """A frame of `table` from rows that name only what matters; the rest is 0, "x", False, [] or missing."""

    def filler(name: str, dtype: pl.DataType, optional: bool) -> object:
        if optional:
            return None
        if isinstance(dtype, pl.List):
            return []
        return "x" if dtype == pl.String() else False if dtype == pl.Boolean() else 0

    filled = [{c.name: row.get(c.name, filler(c.name, c.dtype, c.optional)) for c in table.columns} for row in rows]
    return pl.DataFrame(filled, schema=table.schema, orient="row")


@pytest.fixture(name="rows_of")
def rows_of_fixture() -> Rows:
    return rows_of


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings in an empty folder, whatever the environment says."""
    for name in ("DAGSTER_HOME", "PG_HOST", "NEURON_ATLAS_MODEL", "NEURON_ATLAS_PROMPTS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return Settings(home=tmp_path / "home")


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


class Text(FingerprintedResource):
    """A resource whose fingerprint is its text."""

    text: str

    def fingerprint(self, partition: str | None) -> str:
        return self.text


@dataclass
class Toy:
    """An atlas of three layers whose assets copy what they read: projections, labels from the last layer down, and
    scores over all layers. `calls` lists what ran; `errors` maps an asset partition to the error it raises; `values` changes
    rows, `spoil` the frame of projections."""

    home: Path
    instance: dg.DagsterInstance
    model: str = "first model"
    calls: list[str] = field(default_factory=list)
    errors: dict[str, Exception] = field(default_factory=dict)
    values: dict[str, float] = field(default_factory=dict)
    spoil: Callable[[pl.DataFrame], pl.DataFrame] = lambda frame: frame

    partitions = Partitions(prompt_set_names=(), corpus_names=(), layer_names=("L00", "L01", "L02"))

    @property
    def lake(self) -> Lake:
        return Lake(self.home / "lake")

    def enter(self, context: dg.AssetExecutionContext) -> tuple[int, float]:
        """Note the call, raise what was asked for; the layer and the value its row should have."""
        partition = context.partition_key if context.has_partition_key else None
        name = partition_name(context.asset_key.path[-1], partition)
        self.calls.append(name)
        if name in self.errors:
            raise self.errors[name]
        return (layer_of_key(partition) if partition else 0), self.values.get(name, 0.5)

    def definitions(self) -> dg.Definitions:
        allow_layer_order()
        layers = self.partitions.layers

        @dg.asset(
            partitions_def=layers, io_manager_key="io", check_specs=checks_of("output_projections"), code_version="1"
        )
        @stored_asset
        def output_projections(context: dg.AssetExecutionContext, model: Text) -> Frames:
            layer, value = self.enter(context)
            rows = [] if value < 0 else [{"layer": layer, "neuron": 1, "weight": value}]
            return {
                "output_projections": self.spoil(rows_of(tables.OUTPUT_PROJECTIONS, *rows)),
                "weight_edges": tables.WEIGHT_EDGES.empty(),
            }

        @dg.asset(
            partitions_def=layers,
            ins={"later": dg.AssetIn("output_labels", partition_mapping=self.partitions.later_layers)},
            io_manager_key="io",
            check_specs=checks_of("output_labels"),
            code_version="1",
        )
        @stored_asset
        def output_labels(context: dg.AssetExecutionContext, output_projections: Tables, later: Tables) -> Frames:
            layer, value = self.enter(context)
            seen = later["output_labels"].collect()["layer"].to_list()
            row = {"layer": layer, "neuron": 1, "label": f"after {sorted(seen)}", "confidence": value}
            return {"output_labels": rows_of(tables.OUTPUT_LABELS, row)}

        @dg.asset(io_manager_key="io", check_specs=checks_of("der_scores"), code_version="1")
        @stored_asset
        def der_scores(context: dg.AssetExecutionContext, output_projections: Tables) -> Frames:
            self.enter(context)
            rows = output_projections["output_projections"].select("layer", "neuron", "weight").collect()
            scores = [{"layer": layer, "neuron": neuron, "der": der} for layer, neuron, der in rows.iter_rows()]
            return {"der_scores": rows_of(tables.DER_SCORES, *scores)}

        io = ParquetIOManager(lake=LakeResource(root=str(self.home / "lake")))
        return dg.Definitions(
            assets=[output_projections, output_labels, der_scores],
            resources={"io": io, "model": Text(text=self.model)},
            executor=dg.in_process_executor,
        )

    def stored(self) -> StoredAssets:
        """All of it is in the lake, whatever the registry says."""
        store = LakeStore(self.lake)
        return StoredAssets(dict.fromkeys(("lake", "duckdb", "postgres"), lambda: store), self.partitions)

    def run(self, *assets: str, partition: str | None = None, only_missing: bool = False) -> list[RunStep]:
        resources = {"model": Text(text=self.model)}
        runner = InProcessRunner(self.definitions(), resources, self.partitions, self.instance, self.stored)
        chosen = list(assets) or ["output_projections", "der_scores", "output_labels"]
        return runner.run(chosen, partition=partition, only_missing=only_missing, fresh=False, listener=None)


@pytest.fixture
def toy(tmp_path: Path, instance: dg.DagsterInstance) -> Toy:
    return Toy(tmp_path, instance)
