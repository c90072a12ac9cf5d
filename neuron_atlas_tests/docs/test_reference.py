"""The pages below docs/reference say what the code says, and nothing else shapes them."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import neuron_atlas as na
from neuron_atlas.core.tables import ASSETS

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def generator() -> Iterator[ModuleType]:
    """docs/generate_reference.py, which is a script beside its pages and no part of the package."""
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        yield importlib.import_module("generate_reference")
    finally:
        sys.path.remove(str(ROOT / "docs"))


@pytest.fixture(scope="module")
def made(generator: ModuleType) -> dict[str, str]:
    return {path.name: text for path, text in generator.pages().items()}


@pytest.mark.parametrize("name", ["cli.md", "tables.md", "settings.md", "python.md"])
def test_a_page_is_up_to_date(generator: ModuleType, made: dict[str, str], name: str):
    path = ROOT / "docs" / "reference" / name
    assert path.exists(), f"docs/reference/{name} is missing. Make it with: {generator.COMMAND}"
    assert path.read_text() == made[name], f"docs/reference/{name} is stale. Renew it with: {generator.COMMAND}"


def test_a_stale_page_is_named(generator: ModuleType):
    path = ROOT / "docs" / "reference" / "cli.md"
    assert generator.stale({path: path.read_text()}) == []
    assert generator.stale({path: path.read_text() + "more"}) == ["docs/reference/cli.md"]
    assert generator.stale({path.with_name("new.md"): ""}) == ["docs/reference/new.md"]


def test_every_command_setting_table_and_public_name_has_its_place(made: dict[str, str]):
    from neuron_atlas.cli import main
    from neuron_atlas.settings import Settings

    for command in main.list_commands(None):  # pyright: ignore[reportArgumentType]
        assert f"\n## neuron-atlas {command}\n" in made["cli.md"]
    for field in Settings.model_fields:
        assert re.search(rf"\| `(NEURON_ATLAS_)?{field.upper()}` \|", made["settings.md"]), field
    for asset, tables in ASSETS.items():
        assert f"\n## {asset}\n" in made["tables.md"]
        for table in tables:
            assert f"\n### {asset}: {table.name}\n" in made["tables.md"]
    for name in set(na.__all__) - {"__version__", "filters"}:
        assert f"\n### {name}\n" in made["python.md"]
    for name in na.filters.__all__:
        assert f"\n### filters.{name}\n" in made["python.md"]
    for method in ("Atlas.search", "NeuronDb.search", "NeuronView.steer", "TracedGraph.save", "AtlasLabels.search"):
        assert f"\n#### {method}\n" in made["python.md"]


def test_no_heading_of_a_reference_page_has_the_anchor_of_another(made: dict[str, str]):
    for name, text in made.items():
        headings = re.findall(r"^#{1,3} (.*)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
        anchors = [heading.lower() for heading in headings]
        assert len(anchors) == len(set(anchors)), f"{name}: {sorted({a for a in anchors if anchors.count(a) > 1})}"


def test_nothing_of_the_machine_or_the_environment_reaches_a_page(
    tmp_path: Path, generator: ModuleType, made: dict[str, str]
):
    text = "".join(made.values())
    assert str(ROOT) not in text
    assert str(Path.home()) + "/" not in text
    (tmp_path / ".env").write_text("NEURON_ATLAS_K=7\nPG_HOST=db.example.org\n")
    environment = {**os.environ, "COLUMNS": "40", "NEURON_ATLAS_TAU": "0.5", "NEURON_ATLAS_MODEL": "nowhere"}
    command = [sys.executable, str(ROOT / "docs" / "generate_reference.py"), "--check"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    stale_here = generator.stale({generator.REFERENCE / name: text for name, text in made.items()})
    assert done.returncode == bool(stale_here), done.stderr
