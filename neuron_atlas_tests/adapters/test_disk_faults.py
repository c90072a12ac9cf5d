"""A writer that the disk stops says where and what to do, publishes nothing, and goes on when there is room."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from neuron_atlas.adapters.disk_faults import disk_fault, disk_faults_explained
from neuron_atlas.errors import PermanentError

LIMITED = """
import resource, sys
from pathlib import Path
import numpy as np, polars as pl
from neuron_atlas.adapters.disk_faults import disk_faults_explained
from neuron_atlas.errors import PermanentError
folder = Path(sys.argv[1])
noise = pl.DataFrame({"x": np.random.default_rng(0).random(200_000)})
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))  # a limit on file sizes, which no writer expects
try:
    with disk_faults_explained(folder):
        WRITER
except PermanentError as error:
    print(error)
"""
WRITERS = {
    "python": "(folder / 'x').write_bytes(bytes(1_000_000))",
    "pyarrow": "from neuron_atlas.adapters.files import write_parquet; write_parquet(noise, folder / 'x.parquet')",
    "polars": "noise.write_parquet(folder / 'x.parquet')",
    "duckdb": "import duckdb; c = duckdb.connect(folder / 'x.duckdb'); c.sql('create table t as select * from noise'); c.close()",
    "sqlite": """
        import sqlite3
        c = sqlite3.connect(folder / 'x.sqlite')
        c.execute("create table t (x blob)")
        c.execute("insert into t values (?)", [bytes(1_000_000)])
        c.commit()""",
}


@pytest.mark.parametrize("writer", WRITERS)
def test_every_library_that_writes_is_understood(tmp_path: Path, writer: str) -> None:
    code = LIMITED.replace("WRITER", WRITERS[writer].strip())
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert str(tmp_path) in done.stdout
    assert "then run the same command again: what was finished is kept" in done.stdout


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "Free space there"),
        (errno.EDQUOT, "raise the quota"),
        (errno.EFBIG, "ulimit -f"),
        (errno.EROFS, "NEURON_ATLAS_HOME"),
        (errno.EIO, "Check the disk"),
    ],
)
def test_the_message_names_path_fault_and_next_step(tmp_path: Path, number: int, advice: str) -> None:
    message = disk_fault(OSError(number, os.strerror(number), str(tmp_path / "x")), tmp_path)
    assert message is not None
    assert f"cannot write to {tmp_path / 'x'}: {os.strerror(number).lower()}" in message
    assert advice in message


def test_a_cause_counts_and_other_errors_pass(tmp_path: Path) -> None:
    def give_up() -> None:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as error:
            raise RuntimeError("the writer gave up") from error

    with pytest.raises(PermanentError, match="no space left"), disk_faults_explained(tmp_path):
        give_up()
    with pytest.raises(ValueError, match="something else"), disk_faults_explained(tmp_path):
        raise ValueError("something else")
    assert disk_fault(FileNotFoundError(errno.ENOENT, "gone", "x"), tmp_path) is None
