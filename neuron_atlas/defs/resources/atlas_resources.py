"""The resources of one atlas, under the names by which assets ask for them, with values from `Settings`."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Self

import dagster as dg
from dagster_duckdb import DuckDBResource

from neuron_atlas.defs.resources.clustering import ClusteringResource
from neuron_atlas.defs.resources.datasets import AnalysesResource, CorporaResource, PromptSetsResource
from neuron_atlas.defs.resources.embedder import EmbedderResource
from neuron_atlas.defs.resources.label_store import LabelStoreResource
from neuron_atlas.defs.resources.labeler import LabelerResource
from neuron_atlas.defs.resources.language_model import LanguageModelResource
from neuron_atlas.defs.resources.locations import (
    AtlasFileResource,
    GraphWorkResource,
    LakeResource,
    PostgresResource,
    PublishedResource,
)
from neuron_atlas.defs.resources.subject_model import ModelResource
from neuron_atlas.defs.resources.tracing import TracingResource
from neuron_atlas.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Resources:
    """Everything assets need besides tables; `dataclasses.replace` swaps one, e.g. for a test."""

    model: ModelResource
    tracing: TracingResource
    prompt_sets: PromptSetsResource
    corpora: CorporaResource
    clustering: ClusteringResource
    analyses_made: AnalysesResource
    language_model: LanguageModelResource
    labeler: LabelerResource
    label_store: LabelStoreResource
    embedder: EmbedderResource
    lake: LakeResource
    graph_work: GraphWorkResource
    duckdb: DuckDBResource
    postgres: PostgresResource
    atlas_file: AtlasFileResource
    published: PublishedResource

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The resources that the settings describe; nothing is opened."""
        lake = LakeResource(root=str(settings.lake))
        model = ModelResource(id_or_path=settings.model, device=settings.device, dtype=settings.dtype)
        language_model = LanguageModelResource(
            name=settings.labeler_model,
            base_url=settings.openai_base_url,
            concurrency=settings.llm_concurrency,
            price_input_usd=settings.price_input_usd,
            price_output_usd=settings.price_output_usd,
            budget_usd=settings.budget_usd,
            ledger=str(settings.ledger),
        )
        return cls(
            model=model,
            tracing=TracingResource(k=settings.k, tau=settings.tau, rules=settings.rules),
            prompt_sets=PromptSetsResource(folder=str(settings.prompts)),
            corpora=CorporaResource(folder=str(settings.corpora)),
            clustering=ClusteringResource(
                seed=settings.cluster_seed,
                min_count=settings.min_edge_count,
                method=settings.cluster_method,
                signs=settings.cluster_signs,
            ),
            analyses_made=AnalysesResource(folder=str(settings.analyses)),
            language_model=language_model,
            labeler=LabelerResource(kind=settings.labeler, language_model=language_model),
            label_store=LabelStoreResource(path=str(settings.labels), model=model),
            embedder=EmbedderResource(
                name=settings.embedder, base_url=settings.embedder_server[0], folder=str(settings.root / "embedder")
            ),
            lake=lake,
            graph_work=GraphWorkResource(lake=lake),
            duckdb=DuckDBResource(database=str(settings.duckdb)),
            postgres=PostgresResource(
                host=settings.pg_host,
                port=settings.pg_port,
                user=settings.pg_user,
                database=settings.pg_database,
                folder=str(settings.embedded_postgres),
            ),
            atlas_file=AtlasFileResource(path=str(settings.atlas)),
            published=PublishedResource(folder=str(settings.root / "published"), atlas=str(settings.atlas)),
        )

    def by_key(self) -> dict[str, dg.ConfigurableResource[object]]:
        """The resources by the key under which assets ask for them."""
        return {field.name: getattr(self, field.name) for field in fields(self)}
