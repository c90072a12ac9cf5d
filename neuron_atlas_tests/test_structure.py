"""The shape of the tree: folders that fit on a page and say what they hold, and no imports in circles."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MOST_FILES = 14
SOURCES = {".py", ".sql", ".js", ".css"}


def folders() -> list[Path]:
    tops = [ROOT / name for name in ("neuron_atlas", "neuron_atlas_tests", "benchmarks")]
    return [folder for top in tops for folder in (top, *top.rglob("*")) if folder.is_dir()]


def test_no_folder_holds_more_files_than_a_reader_takes_in() -> None:
    crowded = {
        str(folder.relative_to(ROOT)): count
        for folder in folders()
        if (count := sum(file.suffix in SOURCES for file in folder.iterdir() if file.is_file())) > MOST_FILES
    }
    assert crowded == {}


def test_every_package_says_what_belongs_there() -> None:
    silent = [
        str(file.relative_to(ROOT))
        for file in (ROOT / "neuron_atlas").rglob("__init__.py")
        if not ast.get_docstring(ast.parse(file.read_text()))
    ]
    assert silent == []


def test_every_module_says_what_it_is() -> None:
    silent = [
        str(file.relative_to(ROOT))
        for file in (ROOT / "neuron_atlas").rglob("*.py")
        if file.name != "__init__.py" and not ast.get_docstring(ast.parse(file.read_text()))
    ]
    assert silent == []


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("core/records.py", "neuron_atlas.core.attribution.graph.traced_graph"),  # a circle through a type alone counts
        ("core/labeling/evidence/evidence_record.py", "neuron_atlas.core.labeling.scoring.score"),
    ],
)
def test_the_import_contract_fails_when_a_circle_is_put_back(tmp_path: Path, importer: str, imported: str) -> None:
    shutil.copytree(ROOT / "neuron_atlas", tmp_path / "neuron_atlas", ignore=_not_python)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    assert _lint(tmp_path).returncode == 0
    file = tmp_path / "neuron_atlas" / importer
    file.write_text(f"{file.read_text()}\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import {imported}\n")
    found = _lint(tmp_path)
    assert found.returncode == 1
    assert "No folder imports in circles" in found.stdout
    assert "BROKEN" in found.stdout


def _lint(folder: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).parent / "lint-imports"
    return subprocess.run([program, "--no-cache"], cwd=folder, capture_output=True, text=True, check=False)


def _not_python(folder: str, names: list[str]) -> set[str]:
    return {name for name in names if (Path(folder) / name).is_file() and not name.endswith(".py")}


def test_every_package_lists_its_files_and_names_none_that_is_not_there() -> None:
    everywhere = {file.name for top in ("neuron_atlas", "neuron_atlas_tests") for file in (ROOT / top).rglob("*.py")}
    wrong: dict[str, list[str]] = {}
    for init in (ROOT / "neuron_atlas").rglob("__init__.py"):
        if init.parent == ROOT / "neuron_atlas" or "demo" in init.parts:
            continue  # the front page of the package, and the demo's generator, describe more than files
        text = ast.get_docstring(ast.parse(init.read_text())) or ""
        files = {file.name for file in init.parent.glob("*.py")} - {"__init__.py"}
        named = set(re.findall(r"(?<![\w/])(\w+\.py)\b", text))
        if faults := (files - named) | (named - everywhere):
            wrong[str(init.parent.relative_to(ROOT))] = sorted(faults)
    assert wrong == {}
