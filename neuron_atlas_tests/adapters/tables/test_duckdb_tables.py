"""What only DuckDB has to prove: one process at a time, nothing outside the file, files that are not its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from neuron_atlas.adapters.tables.duckdb_tables import open_duckdb
from neuron_atlas.errors import BadInput, Incomplete, PermanentError, TransientError

HOLDER = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.read()"


def test_a_file_in_use_by_another_process_is_transient(tmp_path: Path) -> None:
    file = tmp_path / "tables.duckdb"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(TransientError, match=r"in use by another process.*PID"), open_duckdb(file):
            pass
        holder.communicate()
    with open_duckdb(file) as connection:
        assert connection.execute("select 1").fetchone() == (1,)


def test_a_file_that_is_not_duckdbs_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.duckdb").write_text("not a database" * 1000)
    with pytest.raises(BadInput, match="not a DuckDB file"), open_duckdb(tmp_path / "x.duckdb"):
        pass


def test_reading_what_is_not_there_makes_no_file(tmp_path: Path) -> None:
    with pytest.raises(Incomplete, match="materialize"), open_duckdb(tmp_path / "x.duckdb", read_only=True):
        pass
    assert list(tmp_path.iterdir()) == []


def test_nothing_outside_the_file_can_be_reached(tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_text("a\n1\n")
    with pytest.raises(PermanentError, match="disabled"), open_duckdb(tmp_path / "x.duckdb") as connection:
        connection.execute(f"select * from read_csv('{tmp_path}/secret.csv')")


def test_a_folder_that_cannot_be_made_is_the_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with (
        pytest.raises(BadInput, match=r"cannot make .*/file.*NEURON_ATLAS_HOME"),
        open_duckdb(tmp_path / "file" / "x.duckdb"),
    ):
        pass
