"""Every command and every line of Python in the README runs; every setting it and .env.example name exists."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from neuron_atlas.settings import Settings
from neuron_atlas_tests.end_to_end.conftest import Run

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
SLOW = {"make atlas", "make test", "make check", "make dev"}
"""Proved elsewhere: by the gate that runs this test, and by cli/test_dev.py."""


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands() -> list[str]:
    shell = [line for block in blocks("bash") for line in block.splitlines()]
    shown = [
        line.removeprefix("$ ") for block in blocks("console") for line in block.splitlines() if line.startswith("$ ")
    ]
    lines = [line.split(" #")[0].strip() for line in shell + shown]
    return [line for line in lines if line and not re.match(r"[A-Z_]+=", line)]


@pytest.mark.parametrize("command", [c for c in commands() if c not in SLOW])
def test_command(built: Run, command: str, tmp_path: Path) -> None:
    words = [Path(word).name if word.startswith(".venv/bin/") else word for word in shlex.split(command)]
    done = built(*words, *(["--output", str(tmp_path)] if words[1] in ("graph", "analyze") else []))
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout + done.stderr


def test_the_slow_ones_are_targets_of_the_makefile() -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {c.removeprefix("make ") for c in SLOW} <= set(targets)
    assert set(commands()) >= SLOW


def test_python(built: Run, tmp_path: Path) -> None:
    (code,) = blocks("python")
    home = built(
        "python", "-c", "from neuron_atlas.settings import load_settings; print(load_settings().root)"
    ).stdout.strip()
    code = code.replace(".neuron_atlas/", f"{home}/").replace("bend.json", str(tmp_path / "bend.json"))
    done = built("python", "-c", code)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "bend.json").stat().st_size > 1000


def setting_names() -> set[str]:
    names = {
        f"NEURON_ATLAS_{name.upper()}"
        for name, field in Settings.model_fields.items()
        if field.validation_alias is None
    }
    return names | {name.upper() for name, field in Settings.model_fields.items() if field.validation_alias is not None}


@pytest.mark.parametrize("text", [README, (ROOT / ".env.example").read_text()], ids=["README", ".env.example"])
def test_settings_exist(text: str) -> None:
    named = set(re.findall(r"\b((?:NEURON_ATLAS|PG|OPENAI|LABELER)_[A-Z_]+)\s*=", text))
    assert named
    assert named <= setting_names() | {"DAGSTER_HOME"}


def test_env_example_names_every_setting() -> None:
    assert setting_names() <= set(re.findall(r"\b([A-Z][A-Z_]+)=", (ROOT / ".env.example").read_text()))


def test_links_lead_somewhere() -> None:
    anchors = {
        re.sub(r"[^a-z0-9 -]", "", h.lower()).replace(" ", "-") for h in re.findall(r"^## (.*)$", README, re.MULTILINE)
    }
    checks: dict[str, Callable[[str], bool]] = {"#": lambda t: t[1:] in anchors, "h": lambda _: True}
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert checks.get(target[0], lambda t: (ROOT / t).exists())(target), target
