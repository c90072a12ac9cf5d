"""What only PostgreSQL has to prove: killed writers, writers at once, texts it cannot hold."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuron_atlas.adapters.postgres import Server, escape_text, escaped, unescape_text, unescaped
from neuron_atlas.adapters.tables.postgres_tables import PostgresTables
from neuron_atlas.core.records import Frames
from neuron_atlas.core.tables import CLUSTER_LABELS
from neuron_atlas.errors import PermanentError

ASSET = "cluster_labels"
ROOT = Path(__file__).parents[3]

WRITER = """
import sys
from neuron_atlas.adapters.postgres import Server
from neuron_atlas_tests.adapters.tables.test_postgres_tables import ASSET, PostgresTables, labels
host, database = sys.argv[1:]
with Server(host, database=database).connect() as connection:
    PostgresTables(connection).write(ASSET, "p", labels("new", 2000), provenance={})
    print("written, not committed", flush=True)
    sys.stdin.read()
"""


def labels(text: str, n: int) -> Frames:
    by = {"labeler": "rules", "version": "1", "is_best": True}
    frame = pl.DataFrame({"path": [str(i) for i in range(n)], **by, "label": text, "tokens": [[text]] * n})
    missing = [pl.lit(None).alias(c.name) for c in CLUSTER_LABELS.columns if c.name not in frame.columns]
    return {"cluster_labels": CLUSTER_LABELS.checked(frame.with_columns(missing))}


def texts(server: Server) -> list[str]:
    found = server.run(lambda c: PostgresTables(c).read(ASSET), read_only=True)
    return found["cluster_labels"]["label"].unique().to_list()


def test_a_writer_killed_before_its_commit_leaves_the_old_partition(database: Server) -> None:
    database.run(lambda c: PostgresTables(c).write(ASSET, "p", labels("old", 3), provenance={}))
    arguments = [sys.executable, "-c", WRITER, database.host, database.database]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline().strip() == "written, not committed"
        assert texts(database) == ["old"]  # while it writes
        writer.kill()
    assert texts(database) == ["old"]
    database.run(
        lambda c: PostgresTables(c).write(ASSET, "p", labels("new", 2000), provenance={})
    )  # its locks are gone
    assert texts(database) == ["new"]


def test_writers_of_one_partition_at_once_wait_for_each_other(database: Server) -> None:
    def write(text: str) -> None:
        database.run(lambda c: PostgresTables(c).write(ASSET, "p", labels(text, 200), provenance={"by": text}))

    threads = [threading.Thread(target=write, args=(text,)) for text in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (stored,) = database.run(lambda c: PostgresTables(c).partitions(ASSET))
    assert texts(database) == [stored.provenance["by"]]  # rows and manifest are of the same writer


def test_a_read_only_connection_cannot_write(database: Server) -> None:
    with pytest.raises(PermanentError, match="read-only"):
        database.run(lambda c: PostgresTables(c).write(ASSET, "p", labels("x", 1), provenance={}), read_only=True)


HOSTILE = st.text(st.sampled_from(["\x00", "\ufdd0", "0", "1", "a"]))


@given(HOSTILE, st.lists(st.lists(HOSTILE, max_size=3) | st.none(), max_size=3))
def test_escaped_texts_hold_no_nul_and_come_back(text: str, lists: list[list[str] | None]) -> None:
    assert "\x00" not in escape_text(text)
    assert unescape_text(escape_text(text)) == text
    types = {"n": pl.Int8, "t": pl.String, "l": pl.List(pl.String)}
    frame = pl.DataFrame({"n": [1] * len(lists), "t": [text] * len(lists), "l": lists}, schema=types)
    assert escaped(frame)["t"].to_list() == [escape_text(text)] * len(lists)
    assert unescaped(escaped(frame)).equals(frame)
