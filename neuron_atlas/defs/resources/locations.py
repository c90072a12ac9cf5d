"""Where things are stored: the lake, unfinished work, Postgres, the atlas file, the records of what was published.

Where something is stored does not change what it is, so none of these has a fingerprint. The working DuckDB file is
dagster-duckdb's own `DuckDBResource`. Passwords are read from the environment when a connection is opened; Dagster never
sees them.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field

from neuron_atlas.adapters.tables.lake import Lake
from neuron_atlas.core.records import PromptSet, TraceOptions
from neuron_atlas.defs.instance import tag_run_with_process
from neuron_atlas.defs.storage.stores import PublishedRecords
from neuron_atlas.settings import load_settings

if TYPE_CHECKING:
    from neuron_atlas.adapters.graphs.shards import GraphShards
    from neuron_atlas.adapters.postgres import Server


class LakeResource(dg.ConfigurableResource[object]):
    """The folder of Parquet tables, an asset and partition at a time."""

    root: str

    def open(self) -> Lake:
        """The lake; one per process, which verifies each file once."""
        return _open_lake(self.root)


@lru_cache(maxsize=4)
def _open_lake(root: str) -> Lake:
    return Lake(Path(root))


class GraphWorkResource(dg.ConfigurableResource[object]):
    """The finished prompts of unfinished `raw_graphs` partitions."""

    lake: LakeResource

    @contextmanager
    def claim(
        self, prompt_set: PromptSet, *, options: TraceOptions, model_revision: str, code_version: str, fresh: bool
    ) -> Iterator[GraphShards]:
        """The shards of one prompt set, held against other processes; `fresh` drops what an earlier run left.

        Raises `TransientError` when another process has them, `ConfigurationChanged` when they were begun with another model
        or other options.
        """
        from neuron_atlas.adapters.graphs.shards import GraphShards

        with self.lake.open().claim("raw_graphs", prompt_set.name) as work:
            if fresh:
                shutil.rmtree(work / SHARDS, ignore_errors=True)
            yield GraphShards(
                work / SHARDS,
                prompt_set=prompt_set,
                options=options,
                model_revision=model_revision,
                code_version=code_version,
            )

    def clear(self, prompt_set: str) -> None:
        """Remove the shards of a prompt set that has been published."""
        with self.lake.open().claim("raw_graphs", prompt_set) as work:
            shutil.rmtree(work / SHARDS, ignore_errors=True)


SHARDS = "shards"
"""The folder of a claimed partition that holds its finished prompts."""


class PostgresResource(dg.ConfigurableResource[object]):
    """PostgreSQL with pgvector: the server at `host`, or an embedded one in `folder`, started when first needed.

    The password of a given server is read from PG_PASSWORD when a connection is opened.
    """

    host: str | None = Field(description="Server; unset: the embedded one.")
    port: int
    user: str
    database: str
    folder: str = Field(description="Data folder of the embedded server.")

    def location(self) -> str:
        """Where it is, as people read it; without the password."""
        return f"{self.host}:{self.port}/{self.database}" if self.host else f"{self.folder} ({self.database})"

    def server(self) -> Server:
        """The server with its database, which is created when missing. Raises `Unreachable` or `BadInput`."""
        from neuron_atlas.adapters.postgres import configured_server, ensure_database, start_embedded

        if self.host is None:
            return ensure_database(start_embedded(Path(self.folder)), self.database)
        password = load_settings().pg_password.get_secret_value() or None
        given = configured_server(
            host=self.host, port=self.port, user=self.user, password=password, database=self.database
        )
        return ensure_database(given, self.database)


class AtlasFileResource(dg.ConfigurableResource[object]):
    """The published atlas file."""

    path: str


class PublishedResource(dg.ConfigurableResource[object]):
    """The records of what was published: from what, and with which content."""

    folder: str
    atlas: str = Field(description="The atlas file; without it the record of `atlas` is ignored.")

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        tag_run_with_process(context)

    def store(self) -> PublishedRecords:
        """The records."""
        return PublishedRecords(Path(self.folder), {"atlas": Path(self.atlas)})
