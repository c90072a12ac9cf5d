"""Publication: one file and one database to ask.

Both are built aside and become visible in one step, so whoever reads meanwhile keeps the former version. Not here: how they are
built (adapters/atlas_duckdb, adapters/neuron_db).
"""

from __future__ import annotations

from pathlib import Path

import dagster as dg

from neuron_atlas import __version__
from neuron_atlas.core.hashing import content_hash
from neuron_atlas.core.records import Frames, Tables
from neuron_atlas.defs.asset_decorators import PublishedContent, published_asset, stored_asset
from neuron_atlas.defs.asset_registry import ASSETS_IN_ATLAS
from neuron_atlas.defs.checks.before_storing import checks_of
from neuron_atlas.defs.metadata.drawing import markdown_table
from neuron_atlas.defs.resources.datasets import AnalysesResource
from neuron_atlas.defs.resources.embedder import EmbedderResource
from neuron_atlas.defs.resources.labeler import LabelerResource
from neuron_atlas.defs.resources.locations import AtlasFileResource, PostgresResource, PublishedResource
from neuron_atlas.defs.resources.subject_model import ModelResource

GROUP = "publication"
OWNERS = ["team:interpretability"]


def publication_assets() -> list[dg.AssetsDefinition]:
    """The assets of this group."""

    @dg.asset(
        group_name=GROUP,
        io_manager_key="duckdb_io_manager",
        check_specs=checks_of("analyses"),
        pool="duckdb",
        kinds={"duckdb"},
        owners=OWNERS,
        code_version="1",
    )
    @stored_asset
    def analyses(context: dg.AssetExecutionContext, analyses_made: AnalysesResource, model: ModelResource) -> Frames:
        """Circuits of single prompts that `neuron-atlas analyze` has found: their modules, members, flows and test results.

        Nothing is traced here: the analyses of this model that are stored in the atlas's home folder become rows of tables.
        """
        from neuron_atlas.core.circuits.analysis.analysis_tables import analysis_tables

        return analysis_tables(analyses_made.open().read(model.spec().revision))

    @dg.asset(
        group_name=GROUP,
        ins={asset: dg.AssetIn(asset) for asset in ASSETS_IN_ATLAS},
        automation_condition=dg.AutomationCondition.eager(),
        pool="atlas",
        kinds={"duckdb"},
        owners=OWNERS,
        code_version="3",
    )
    @published_asset
    def atlas(
        context: dg.AssetExecutionContext,
        atlas_file: AtlasFileResource,
        model: ModelResource,
        embedder: EmbedderResource,
        published: PublishedResource,
        **assets: Tables,
    ) -> PublishedContent:
        """The atlas: one read-only DuckDB file with every table except the sums of single prompt sets, a summary row per neuron,
        and search by words and by meaning.

        Open it with `neuron_atlas.open_atlas`, `neuron-atlas query`, or DuckDB itself.
        """
        from neuron_atlas.adapters.atlas_duckdb import build_atlas, table_hashes

        tables = {name: table for asset in ASSETS_IN_ATLAS for name, table in assets[asset].items()}
        facts = {**model.facts(), "code_version": __version__}
        report = build_atlas(Path(atlas_file.path), tables, facts=facts, embedder=embedder.load())
        hashes = table_hashes(report.path)
        shown = {
            "tables": dg.MetadataValue.md(markdown_table(["table", "rows"], sorted(report.rows.items()))),
            "bytes": dg.MetadataValue.int(report.bytes),
        }
        return PublishedContent(content_hash(hashes), dict(report.rows), str(report.path), shown)

    @dg.asset(
        group_name=GROUP,
        pool="neuron_db",
        kinds={"postgres"},
        owners=OWNERS,
        code_version="2",
    )
    @published_asset
    def neuron_db(
        context: dg.AssetExecutionContext,
        output_labels: Tables,
        input_labels: Tables,
        label_scores: Tables,
        activation_stats: Tables,
        clusters: Tables,
        cluster_labels: Tables,
        postgres: PostgresResource,
        embedder: EmbedderResource,
        model: ModelResource,
        labeler: LabelerResource,
        published: PublishedResource,
    ) -> PublishedContent:
        """The search database in Postgres: finds labels by meaning and by words, and filters by layer, sign, score or cluster.

        Each model revision and labeler version is one label set, loaded in one transaction. The vector index is built after the
        data; the check `recall` compares it with an exact scan.
        """
        from neuron_atlas.adapters.neuron_db import load_labels

        tables = {
            **output_labels, **input_labels, **label_scores, **activation_stats, **clusters, **cluster_labels,
        }  # fmt: skip
        report = load_labels(
            postgres.server(), model=model.spec(), version=labeler.version(), tables=tables, embedder=embedder.load()
        )
        held = report.label_set
        rows = {
            "descriptions": held.n_descriptions, "neurons": report.n_neurons, "quantiles": report.n_quantiles,
            "exemplars": report.n_exemplars,
        }  # fmt: skip
        shown = {
            "label_set": dg.MetadataValue.text(f"{held.model_id}, {held.version}"),
            "embedder": dg.MetadataValue.text(f"{held.embedder}, {held.dimension} dimensions"),
            "was_new": dg.MetadataValue.bool(report.is_new),
        }
        return PublishedContent(held.content_hash, rows, postgres.location(), shown)

    return [analyses, atlas, neuron_db]
