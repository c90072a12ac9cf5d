"""A whole small atlas, built once: the demo model on a few prompts of three sets and a short corpus."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from neuron_atlas import demo
from neuron_atlas.adapters.datasets.prompt_sets import prompt_entry, read_prompt_set

PROMPTS = {"geography": 16, "grammar": 12, "filler": 10}
TEXTS = 300

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def small_home() -> Iterator[Path]:
    """The folder of the atlas, one for all workers of a test run; the last to leave removes it.

    Not below pytest's own folder, which each session of pytest closes to other users: started by root, the embedded server is one.
    """
    folder = Path(tempfile.gettempdir(), f"atlas-{os.environ.get('PYTEST_XDIST_TESTRUNUID', os.getpid())}")
    user = folder / f"user-{os.environ.get('PYTEST_XDIST_WORKER', 'alone')}"
    with locked(folder):
        user.touch()
        if not (folder / "prompts").exists():
            _prepare(folder)
    yield folder
    with locked(folder):
        user.unlink()
        if not list(folder.glob("user-*")):
            subprocess.run(["neuron-atlas", "stop"], env=environment(folder), check=False, capture_output=True)
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One worker at a time."""
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _prepare(home: Path) -> None:
    (home / "prompts").mkdir()
    (home / "corpora").mkdir()
    for name, count in PROMPTS.items():
        whole = read_prompt_set(demo.PROMPTS_DIR, name)
        entries = [prompt_entry(p) for p in whole.prompts[:: max(1, len(whole.prompts) // count)]]
        content = {"name": name, "kind": whole.kind, "prompts": entries[:count]}
        (home / "prompts" / f"{name}.yaml").write_text(json.dumps(content))
    lines = (demo.CORPUS_DIR / "small_world.txt").read_text().splitlines()
    (home / "corpora" / "small_world.txt").write_text("\n".join(lines[:: len(lines) // TEXTS]) + "\n")


def environment(home: Path) -> dict[str, str]:
    """This process's environment with the settings of that atlas and no others."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("NEURON_ATLAS_", "PG_", "DAGSTER_", "OPENAI_"))}
    return kept | {
        "NEURON_ATLAS_HOME": str(home / "home"),
        "NEURON_ATLAS_PROMPTS": str(home / "prompts"),
        "NEURON_ATLAS_CORPORA": str(home / "corpora"),
        "DAGSTER_HOME": str(home / "home" / "dagster"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": "140",
        "OMP_NUM_THREADS": "1",
    }


@pytest.fixture(scope="session")
def run(small_home: Path) -> Run:
    """Run a command as a person would, with this atlas's settings, from the folder of the project."""

    def run(*command: str, cwd: Path | None = None, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            env=environment(small_home) | more,
            cwd=cwd or demo.MODEL_DIR.parents[2],
            capture_output=True,
            text=True,
            timeout=1800,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def built(run: Run, small_home: Path) -> Run:
    """The same, with everything materialized."""
    with locked(small_home):
        if not (small_home / "built").exists():
            done = run("neuron-atlas", "materialize")
            assert done.returncode == 0, done.stderr[-3000:]
            (small_home / "built").touch()
    return run
