"""Every setting, typed, read from the environment or `.env`; only `cli`, `definitions` and `defs` import this module.

Names are `NEURON_ATLAS_*`, except those that are common already: `PG_*` for a Postgres server, `OPENAI_*` and `LABELER_MODEL`
for a language model. Without any of them everything runs on the bundled demo model with an embedded Postgres.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import AliasChoices, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from neuron_atlas import demo
from neuron_atlas.errors import BadInput


def _named(name: str) -> AliasChoices:
    """Read a field from an environment name of its own, and by its field name in code."""
    return AliasChoices(name, name.lower())


class Settings(BaseSettings):
    """The configuration of one atlas."""

    model_config = SettingsConfigDict(
        env_prefix="NEURON_ATLAS_",
        env_file=".env",
        extra="ignore",
        frozen=True,
        populate_by_name=True,
        env_ignore_empty=True,
    )

    home: Path = Field(
        Path(".neuron_atlas"),
        description="Folder of this atlas: its tables, databases, ledger and Dagster's own state.",
    )
    model: str = Field(
        str(demo.MODEL_DIR),
        description="Model under study: a Hugging Face id or a local folder; unset: the demo model.",
    )
    device: str | None = Field(
        None, description="torch device on which the model runs; unset: cuda where there is one, else cpu."
    )
    dtype: str | None = Field(
        None, description="Number type of the model's forward pass: float32 (exact; used when unset) or bfloat16."
    )
    prompts: Path = Field(
        demo.PROMPTS_DIR, description="Folder of prompt sets, one YAML or JSONL file each; unset: those of the demo."
    )
    corpora: Path = Field(
        demo.CORPUS_DIR,
        description="Folder of text corpora, one .txt file each with one text per line; unset: that of the demo.",
    )

    k: int = Field(
        5, ge=1, le=1000, description="Number of likeliest next tokens that are traced when a prompt names no targets."
    )
    tau: float = Field(
        0.005,
        gt=0,
        lt=1,
        description="A neuron is kept in a graph when its |relevance| is at least this share of the goal's |value|.",
    )
    rules: str = Field(
        "relp",
        description="Linearisation rule set by which the model is traced: relp or gate-frozen (`graph --rules` takes others).",
    )
    min_edge_count: int = Field(
        2, ge=1, description="Smallest number of prompts in which an edge was seen for clustering to use it."
    )
    cluster_seed: int = Field(
        0, ge=0, description="Random seed of the clustering; the same seed gives the same clusters."
    )
    cluster_method: Literal["infomap", "leiden"] = Field(
        "infomap", description="Algorithm that finds clusters: infomap or leiden."
    )
    cluster_signs: Literal["merged", "excitatory", "inhibitory", "layers"] = Field(
        "merged",
        description="Links used for clustering: merged (both signs), excitatory, inhibitory, or layers (each sign a layer).",
    )

    pg_host: str | None = Field(
        None,
        validation_alias=_named("PG_HOST"),
        description="Host of a Postgres server with pgvector; unset: an embedded server is started.",
    )
    pg_port: int = Field(5432, validation_alias=_named("PG_PORT"), description="Port of the server at PG_HOST.")
    pg_user: str = Field("postgres", validation_alias=_named("PG_USER"), description="User on the server at PG_HOST.")
    pg_password: SecretStr = Field(
        SecretStr(""),
        validation_alias=_named("PG_PASSWORD"),
        description="Password of PG_USER, where the server asks for one.",
    )
    pg_database: str = Field(
        "neuron_atlas",
        validation_alias=_named("PG_DATABASE"),
        description="Database, on either server, that holds labels and the search database; created when missing.",
    )

    labeler: str = Field(
        "rules", description="Who writes the labels: rules (offline), openai, openai-batch, human or import."
    )
    openai_api_key: SecretStr = Field(
        SecretStr(""),
        validation_alias=_named("OPENAI_API_KEY"),
        description="Key of the language model's server; a server of your own may need none.",
    )
    openai_base_url: str | None = Field(
        None,
        validation_alias=_named("OPENAI_BASE_URL"),
        pattern=r"^https?://",
        description="Address of the language model's server, any OpenAI-compatible one; unset: OpenAI's own.",
    )
    labeler_model: str = Field(
        "gpt-5-mini", validation_alias=_named("LABELER_MODEL"), description="Name of the language model on its server."
    )
    llm_concurrency: int = Field(
        16, ge=1, le=1000, description="Number of requests to the language model at the same time."
    )
    price_input_usd: float | None = Field(
        None, ge=0, description="Price of a million prompt tokens, USD; needed for a budget."
    )
    price_output_usd: float | None = Field(
        None, ge=0, description="Price of a million completion tokens, USD; needed for a budget."
    )
    budget_usd: float | None = Field(
        None,
        ge=0,
        description="The most that all calls to language models for this atlas may cost, USD; needs both prices.",
    )
    embedder: str = Field(
        "all-MiniLM-L6-v2",
        description="Sentence embedder of semantic search; openai:MODEL is one on an OpenAI-compatible server.",
    )
    embedder_base_url: str | None = Field(
        None,
        pattern=r"^https?://",
        description="Address of the server of an openai:MODEL embedder; unset: OPENAI_BASE_URL.",
    )
    embedder_api_key: SecretStr = Field(
        SecretStr(""),
        description="Key of the embedder's server; unset: OPENAI_API_KEY, which is never sent to EMBEDDER_BASE_URL.",
    )

    @property
    def embedder_server(self) -> tuple[str | None, str]:
        """Base URL and key of an `openai:` embedder. A key goes where it was given for, and nowhere else."""
        own = self.embedder_api_key.get_secret_value()
        if self.embedder_base_url is not None:
            return self.embedder_base_url, own
        return self.openai_base_url, own or self.openai_api_key.get_secret_value()

    @property
    def lake(self) -> Path:
        """Parquet tables of every asset."""
        return self.root / "lake"

    @property
    def duckdb(self) -> Path:
        """The working DuckDB file of the table assets."""
        return self.root / "tables.duckdb"

    @property
    def ledger(self) -> Path:
        """Every paid call and its answer."""
        return self.root / "ledger.sqlite"

    @property
    def labels(self) -> Path:
        """Labels that people gave or that were imported."""
        return self.root / "labels.sqlite"

    @property
    def analyses(self) -> Path:
        """Analyses that `neuron-atlas analyze` stored, for the next build of the atlas."""
        return self.root / "analyses"

    @property
    def atlas(self) -> Path:
        """The published atlas."""
        return self.root / "neuron_atlas.duckdb"

    @property
    def embedded_postgres(self) -> Path:
        """Data folder of the embedded server."""
        return self.root / "postgres"

    @property
    def root(self) -> Path:
        """`home`, absolute."""
        return self.home.expanduser().absolute()


def setting_description(name: str) -> str:
    """The one-line description of a setting, for the Dagster resource that it configures."""
    return Settings.model_fields[name].description or ""


def load_settings() -> Settings:
    """Read the environment; raises `BadInput` naming the variable and what was expected."""
    try:
        return Settings()  # pyright: ignore[reportCallIssue]: every field has a default
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        variable = name.upper() if name.upper() == name else f"NEURON_ATLAS_{name.upper()}"
        raise BadInput(f"{variable}={first.get('input')!r}: {first['msg']}") from error
