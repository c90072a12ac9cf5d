"""NeuronDB's schema: numbered SQL files, applied once each and in order, forwards only."""

from __future__ import annotations

import re
from importlib import resources

from psycopg import sql

from neuron_atlas.adapters.postgres import Connection, ensure_vector
from neuron_atlas.errors import BadInput, Incomplete

_FILE = re.compile(r"^(\d{3})_[a-z_]+\.sql$")


def steps() -> dict[int, str]:
    """The numbered files: number to SQL text, in order."""
    folder = resources.files("neuron_atlas.adapters") / "sql" / "neuron_db"
    found = {int(m[1]): f.read_text() for f in folder.iterdir() if (m := _FILE.match(f.name))}
    return dict(sorted(found.items()))


def migrate(connection: Connection) -> int:
    """Bring the database's NeuronDB schema to this release's version, in the connection's transaction; returns the version.

    A database without one gets it. Raises `BadInput` when a newer release made it, or pgvector is missing or too old.
    """
    ensure_vector(connection)
    connection.execute("select pg_advisory_xact_lock(hashtextextended('neuron_db.schema', 0))")
    migrations = steps()
    found = schema_version(connection)
    _refuse_newer(found, max(migrations))
    if found == 0:
        connection.execute("create schema if not exists neuron_db")
        connection.execute("create table if not exists neuron_db.schema_version (version integer primary key)")
    for version, text in migrations.items():
        if version > found:
            connection.execute(sql.SQL(text))  # pyright: ignore[reportArgumentType]: our own file
            connection.execute("insert into neuron_db.schema_version values (%s)", [version])
    return max(migrations)


def check_schema(connection: Connection) -> None:
    """Raises `Incomplete` when the database has no NeuronDB or an older one (both with the command to run), `BadInput` when
    it has a newer one."""
    found, newest = schema_version(connection), max(steps())
    _refuse_newer(found, newest)
    if found == 0:
        raise Incomplete("this database has no NeuronDB yet; run: neuron-atlas build-db")
    if found < newest:
        raise Incomplete(
            f"this NeuronDB has schema {found}, this release needs {newest}; update it with: neuron-atlas build-db"
        )


def schema_version(connection: Connection) -> int:
    """The version of the schema in the database; 0 for none."""
    row = connection.execute("select to_regclass('neuron_db.schema_version') is not null").fetchone()
    if row is None or not row[0]:
        return 0
    row = connection.execute("select coalesce(max(version), 0) from neuron_db.schema_version").fetchone()
    return int(row[0]) if row else 0


def _refuse_newer(found: int, newest: int) -> None:
    if found > newest:
        raise BadInput(
            f"this NeuronDB has schema {found}, made by a newer release of neuron_atlas; this one reads up to {newest}. Upgrade "
            "neuron_atlas, or load into another database (PG_DATABASE)"
        )


def registered(connection: Connection) -> Connection:
    """The connection, able to send and read vectors."""
    from pgvector.psycopg import register_vector

    register_vector(connection)
    return connection
