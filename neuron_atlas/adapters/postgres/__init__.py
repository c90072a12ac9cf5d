"""PostgreSQL: the embedded server, or the one PG_HOST names."""

from neuron_atlas.adapters.postgres.embedded import is_running, start_embedded, stop_embedded
from neuron_atlas.adapters.postgres.pool import Pool
from neuron_atlas.adapters.postgres.rows import copy_rows, escape_text, escaped, unescape_text, unescaped
from neuron_atlas.adapters.postgres.server import (
    Connection,
    Server,
    ensure_database,
    ensure_vector,
    given_server,
)

__all__ = [
    "Connection",
    "Pool",
    "Server",
    "copy_rows",
    "ensure_database",
    "ensure_vector",
    "escape_text",
    "escaped",
    "given_server",
    "is_running",
    "start_embedded",
    "stop_embedded",
    "unescape_text",
    "unescaped",
]
