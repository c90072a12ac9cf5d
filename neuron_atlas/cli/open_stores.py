"""Opens the atlas file and the search database that the settings name, with their embedder.

Nothing is read or written here: that is for `adapters/atlas_duckdb` and `adapters/neuron_db`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from neuron_atlas.settings import load_settings

if TYPE_CHECKING:
    from neuron_atlas.adapters.atlas_duckdb import Atlas
    from neuron_atlas.adapters.neuron_db import NeuronDb
    from neuron_atlas.core.ports import Embedder


def open_atlas(path: Path | None = None) -> Atlas:
    """The atlas file at `path`, or the one of the settings."""
    from neuron_atlas.adapters import atlas_duckdb

    return atlas_duckdb.open_atlas(path or load_settings().atlas, embedder=_embedder())


def open_search_database() -> NeuronDb:
    """The search database of the settings: the server of PG_HOST, or the embedded one."""
    from neuron_atlas.adapters.neuron_db import open_neuron_db
    from neuron_atlas.adapters.postgres import configured_server

    settings = load_settings()
    if settings.pg_host is None:
        return open_neuron_db(settings.embedded_postgres, embedder=_embedder())
    return open_neuron_db(
        configured_server(
            host=settings.pg_host,
            port=settings.pg_port,
            user=settings.pg_user,
            password=settings.pg_password.get_secret_value() or None,
            database=settings.pg_database,
        ),
        embedder=_embedder(),
    )


def default_label_set(database: NeuronDb, model: str | None, version: str | None) -> tuple[str | None, str | None]:
    """The model and version of the label set to use: those given, or, when neither is given and the database has several label
    sets, those of the settings if it has them."""
    held = {(one.revision, one.version) for one in database.label_sets()}
    if model is not None or version is not None or len(held) < 2:
        return model, version
    from neuron_atlas.defs.resources.atlas_resources import Resources

    resources = Resources.from_settings(load_settings())
    own = resources.model.spec().revision, resources.labeler.version()
    return own if own in held else (None, None)


def _embedder() -> Embedder | None:
    """The embedder of the settings if it is on a server. One on this machine is loaded only when a search needs it, by the name
    stored with the labels."""
    from neuron_atlas.adapters.embedder import REMOTE

    settings = load_settings()
    if not settings.embedder.startswith(REMOTE):
        return None
    from neuron_atlas.defs.resources.atlas_resources import Resources  # Dagster takes a second to load

    return Resources.from_settings(settings).embedder.load()
