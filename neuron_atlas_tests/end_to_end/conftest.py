"""A whole small atlas, built once: the demo model on a few prompts of three sets and a short corpus."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from neuron_atlas import demo
from neuron_atlas.adapters.prompt_sets import prompt_entry, read_prompt_set

PROMPTS = {"geography": 16, "grammar": 12, "filler": 10}
TEXTS = 300

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def small_home() -> Iterator[Path]:
    """The folder of the atlas; nothing is built in it yet. Not below pytest's own folder, which each session of pytest closes to
    other users: started by root, the embedded server is one."""
    with tempfile.TemporaryDirectory(prefix="atlas-") as folder:
        yield _prepared(Path(folder))


def _prepared(home: Path) -> Path:
    (home / "prompts").mkdir()
    (home / "corpora").mkdir()
    for name, count in PROMPTS.items():
        whole = read_prompt_set(demo.PROMPTS_DIR, name)
        entries = [prompt_entry(p) for p in whole.prompts[:: max(1, len(whole.prompts) // count)]]
        content = {"name": name, "kind": whole.kind, "prompts": entries[:count]}
        (home / "prompts" / f"{name}.yaml").write_text(json.dumps(content))
    lines = (demo.CORPUS_DIR / "small_world.txt").read_text().splitlines()
    (home / "corpora" / "small_world.txt").write_text("\n".join(lines[:: len(lines) // TEXTS]) + "\n")
    return home


@pytest.fixture(scope="session")
def run(small_home: Path) -> Iterator[Run]:
    """Run a command as a person would, with this atlas's settings, from the folder of the project."""
    settings = {
        "NEURON_ATLAS_HOME": str(small_home / "home"),
        "NEURON_ATLAS_PROMPTS": str(small_home / "prompts"),
        "NEURON_ATLAS_CORPORA": str(small_home / "corpora"),
        "DAGSTER_HOME": str(small_home / "home" / "dagster"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": "140",
        "OMP_NUM_THREADS": "1",
    }
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("NEURON_ATLAS_", "PG_", "OPENAI_"))}

    def run(*command: str, cwd: Path | None = None, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            env=environment | settings | more,
            cwd=cwd or demo.MODEL_DIR.parents[2],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    yield run
    run("neuron-atlas", "stop")


@pytest.fixture(scope="session")
def built(run: Run) -> Run:
    """The same, with everything materialized."""
    done = run("neuron-atlas", "materialize")
    assert done.returncode == 0, done.stderr[-3000:]
    return run
