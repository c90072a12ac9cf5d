"""What the pages point to exists: files, headings, and the functions that `file:name` speaks of."""

from __future__ import annotations

import ast
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

import neuron_atlas as na

ROOT = Path(__file__).parents[2]
FOLDERS = ("docs", "benchmarks", "neuron_atlas", "neuron_atlas_tests")
PAGES = sorted([*ROOT.glob("*.md"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.md"))])
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
FORMAT = r"\w+/\d"
"""What a JSON file calls its form, as in neuron_atlas/analysis/1, is no path."""
CODE_PATH = re.compile(rf"(?<![\w/.-])((?:{'|'.join(FOLDERS)})/(?!{FORMAT})[\w./<>-]*)(?::([A-Za-z_]\w*(?:\.\w+)?))?")
IMPORT = re.compile(r"^ *from (neuron_atlas[\w.]*) import ([\w, ]+)$", re.MULTILINE)
TEST = re.compile(r"`((?:\w+/)+test_\w+\.py)(?:::(\w+))?`")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@cache
def prose_of(page: Path) -> str:
    return re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)


@cache
def anchors_of(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and the docs site make them; a repeated one gets a number."""
    seen: dict[str, int] = {}
    anchors: set[str] = set()
    for heading in re.findall(r"^#{1,6} (.*?)\s*$", prose_of(page), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).strip().replace(" ", "-")
        anchors.add(slug if slug not in seen else f"{slug}-{seen[slug]}")
        seen[slug] = seen.get(slug, 0) + 1
    return anchors


@cache
def names_in(path: Path) -> set[str]:
    """The top-level functions, classes and constants of a module, and the methods of its classes as `Class.method`."""
    names: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {
                f"{node.name}.{m.name}" for m in node.body if isinstance(m, (ast.FunctionDef, ast.AsyncFunctionDef))
            }
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        names |= {t.id for t in targets if isinstance(t, ast.Name)}
    return names


def broken_links(page: Path, text: str) -> list[str]:
    broken: list[str] = []
    for link, image in LINK.findall(text):
        target = link or image
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        path = (page.parent / file).resolve() if file else page
        if not path.exists():
            broken.append(f"{target}: no such file")
        elif anchor and path.suffix == ".md" and anchor not in anchors_of(path):
            broken.append(f"{target}: no such heading")
    return broken


def missing_code(text: str) -> list[str]:
    """Paths that do not exist, and names that are not in their file. `<stage>` in a path stands for any folder or file name."""
    missing: list[str] = []
    for raw, name in CODE_PATH.findall(text):
        path = raw.rstrip(".")
        found = list(ROOT.glob(re.sub(r"<\w+>", "*", path))) if "<" in path else [ROOT / path]
        if not found or not found[0].exists():
            missing.append(f"{path}: no such file")
        elif name and found[0].suffix == ".py" and name not in names_in(found[0]):
            missing.append(f"{path}:{name}: not in that file")
    for module, names in IMPORT.findall(text):
        path = ROOT / module.replace(".", "/")
        found = [p for p in (path.with_suffix(".py"), path / "__init__.py") if p.exists()]
        inside = names_in(found[0]) | {p.stem for p in path.glob("*")} if found else set[str]()
        inside |= set(na.__all__) if module == na.__name__ else set()
        missing += [
            f"{module}: no {name.strip()} to import" for name in names.split(",") if name.split()[0] not in inside
        ]
    for raw, name in TEST.findall(text):
        files = [root / raw for root in (ROOT, ROOT / "neuron_atlas_tests", ROOT / "neuron_atlas_tests" / "adapters")]
        found = [path for path in files if path.exists()]
        if not found:
            missing.append(f"{raw}: no such test file")
        elif name and name not in names_in(found[0]):
            missing.append(f"{raw}::{name}: no such test")
    return missing


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path):
    assert broken_links(page, prose_of(page)) == []


@pytest.mark.parametrize("page", [p for p in PAGES if p.name != "CHANGELOG.md"], ids=name_of)
def test_code_that_is_named_exists(page: Path):
    assert missing_code(page.read_text()) == []


def test_what_is_broken_is_seen():
    page = ROOT / "docs" / "architecture.md"
    assert broken_links(
        page, "[a](nowhere.md) [b](glossary.md#nowhere) [c](https://example.org) ![d](images/none.png)"
    ) == [
        "nowhere.md: no such file",
        "glossary.md#nowhere: no such heading",
        "images/none.png: no such file",
    ]
    assert missing_code("`neuron_atlas/settings.py:Settings` `neuron_atlas/core/<stage>/`") == []
    assert missing_code(
        "`neuron_atlas/nowhere.py` `neuron_atlas/settings.py:nothing` `neuron_atlas/core/<nothing>.txt`."
    ) == [
        "neuron_atlas/nowhere.py: no such file",
        "neuron_atlas/settings.py:nothing: not in that file",
        "neuron_atlas/core/<nothing>.txt: no such file",
    ]
    assert (
        missing_code("`core/test_records.py::test_neuron_text_form_is_read_back`, form neuron_atlas/analysis/1") == []
    )
    assert missing_code("from neuron_atlas.settings import Settings\nfrom neuron_atlas import demo, settings") == []
    assert missing_code("from neuron_atlas.settings import Nothing") == ["neuron_atlas.settings: no Nothing to import"]
    assert missing_code("`core/test_records.py::test_nothing` `core/test_none.py`") == [
        "core/test_records.py::test_nothing: no such test",
        "core/test_none.py: no such test file",
    ]


def test_the_map_answers_what_newcomers_ask():
    """Every answer of "Where is …?" names a place, which `test_code_that_is_named_exists` has looked up."""
    section = (ROOT / "docs" / "architecture.md").read_text().split("## Where is …?")[1]
    rows = [line for line in section.splitlines() if line.startswith("| ") and not line.startswith("| question")]
    assert len(rows) >= 20
    assert all(re.search(r"`(neuron_atlas|neuron_atlas_tests|pyproject)[\w./]*", row.split("|")[2]) for row in rows)


def test_every_page_is_in_the_navigation_of_the_site():
    named = set(re.findall(r": ([\w/.-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE))
    tracked = subprocess.run(
        ["git", "ls-files", "docs/*.md", "benchmarks/results/*.md"], cwd=ROOT, capture_output=True, text=True
    )
    pages = (
        {p for p in tracked.stdout.split() if not re.match(r"docs/(decisions/\d|README)", p)}
        if not tracked.returncode
        else set()
    )
    assert pages <= named
    assert all((ROOT / page).exists() for page in named)
