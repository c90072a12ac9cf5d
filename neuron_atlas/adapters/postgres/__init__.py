"""PostgreSQL: the embedded server, or the one that PG_HOST names.

    embedded.py   `start_embedded`: starts, shares and stops the embedded server of a folder
    programs.py   runs initdb and pg_ctl of the installed wheel, as the right user
    folder_ownership.py    whether a live server serves the data of this very folder
    server.py     `Server`: an address; connections, transactions, retries, readable errors; pgvector
    pool.py       a few connections that threads share
    rows.py       rows in bulk, and texts that PostgreSQL cannot hold as they are

Does not belong here: what the tables mean (`adapters/neuron_db`, `adapters/tables/postgres_tables.py`), which server is meant
(`settings.py`, `defs/resources/locations.py`).
"""

from neuron_atlas.adapters.postgres.embedded import is_running, start_embedded, stop_embedded
from neuron_atlas.adapters.postgres.pool import Pool
from neuron_atlas.adapters.postgres.rows import copy_rows, escape_text, escaped, unescape_text, unescaped
from neuron_atlas.adapters.postgres.server import (
    Connection,
    Server,
    configured_server,
    ensure_database,
    ensure_vector,
)

__all__ = [
    "Connection",
    "Pool",
    "Server",
    "configured_server",
    "copy_rows",
    "ensure_database",
    "ensure_vector",
    "escape_text",
    "escaped",
    "is_running",
    "start_embedded",
    "stop_embedded",
    "unescape_text",
    "unescaped",
]
