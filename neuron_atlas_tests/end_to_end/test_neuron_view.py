"""The documented example of a view, on the small atlas, and the command line with labels and meanings."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

from neuron_atlas_tests.end_to_end.conftest import Run, environment

DOCUMENT = (Path(__file__).parents[2] / "docs" / "neuron-view.md").read_text()


def test_the_documented_example(built: Run, small_home: Path, tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
    code = code.replace(".neuron_atlas/", f"{small_home}/home/").replace("salem.json", str(tmp_path / "salem.json"))
    done = built("python", "-c", code)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads((tmp_path / "salem.json").read_text())["turns"]


def test_every_filter_of_the_document_reads(built: Run, small_home: Path) -> None:
    table = re.findall(r"^\| `[^|]*\| (.*?) \|", DOCUMENT, re.MULTILINE)
    typed = [text for cell in table for text in re.findall(r"`([^`]+)`", cell) if text not in ("or", "not", "( )")]
    assert len(typed) > 12
    done = subprocess.run(
        ["neuron-atlas", "view", "--json", "--text", "the capital of the state containing Bend is"],
        input="/regenerate\n" + "".join(f"/filter {text}\n" for text in typed),
        env=environment(small_home),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    _top, _written, *found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == len(typed)
    assert found[0]["neurons"] > 0  # by meaning
