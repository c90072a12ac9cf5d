"""`neuron-atlas cluster` on files: what is found is printed, and options that would do nothing are refused."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner, Result

from neuron_atlas.cli import main

COLUMNS = "src_layer, src_neuron, tgt_layer, tgt_neuron, count, weight_sum, weight_abs_sum, weight_sq_sum"


def _clique(first: int, sign: float = 1.0) -> list[tuple[float, ...]]:
    """Four neurons L0..L3 with one number, each wired to the later ones: three instances of weight 2."""
    return [(a, first, b, first, 3, sign * 6.0, 6.0, 12.0) for a in range(4) for b in range(a + 1, 4)]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two cliques, of exciting and of inhibiting links, a link between them seen once, and an empty home."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEURON_ATLAS_HOME", str(tmp_path / "home"))
    path = tmp_path / "edges.duckdb"
    with duckdb.connect(path) as connection:
        connection.execute(
            "CREATE TABLE edges (src_layer INT, src_neuron INT, tgt_layer INT, tgt_neuron INT, count INT, "
            "weight_sum DOUBLE, weight_abs_sum DOUBLE, weight_sq_sum DOUBLE)"
        )
        rows = [*_clique(1), *_clique(2, -1.0), (0, 1, 3, 2, 1, 1.0, 1.0, 1.0)]
        connection.executemany(f"INSERT INTO edges ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
    return path


def cluster(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["cluster", *arguments])


@pytest.mark.parametrize("method", ["infomap", "leiden"])
def test_a_file_of_edges_is_clustered(file: Path, method: str) -> None:
    found = json.loads(cluster("--duckdb", str(file), "--method", method, "--json").stdout)
    assert found["run"]["algorithm"] == method
    assert found["run"]["n_links"] == 12  # the link seen once is left out
    assert [row["size"] for row in found["clusters"]] == [4, 4]
    paths = {row["neuron"]: row["path"] for row in found["neurons"]}
    assert len({paths[f"L{layer}/N1"] for layer in range(4)}) == 1
    assert paths["L0/N1"] != paths["L0/N2"]


def test_signs_and_counts_are_options(file: Path) -> None:
    found = json.loads(cluster("--duckdb", str(file), "--signs", "excitatory", "--min-count", "1", "--json").stdout)
    assert found["run"]["n_links"] == 7
    assert {row["neuron"] for row in found["neurons"] if row["path"] is None} == {"L1/N2", "L2/N2", "L0/N2"}


def test_people_get_a_table(file: Path) -> None:
    done = cluster("--duckdb", str(file))
    assert done.exit_code == 0
    assert "8 of 8 neurons" in done.stdout
    assert "redrawn links" in done.stdout
    assert "stability_prompts" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--duckdb", "/nowhere.duckdb"), "there is no /nowhere.duckdb"),
        (("--duckdb", "edges.duckdb", "--graph", "g.json"), "give one of them"),
        (("--graph", "g.json", "--hubs", "drop"), "--hubs does not apply to --graph"),
        (("--trials", "3"), "--trials does not apply to the stage"),
        (("--duckdb", "edges.duckdb", "--method", "leiden", "--signs", "layers"), "does not support signs"),
        (("--duckdb", "text.txt"), "cannot be read"),
    ],
)
def test_mistakes_get_one_line(file: Path, arguments: tuple[str, ...], words: str) -> None:
    (file.parent / "text.txt").write_text("no database\n" * 2000)
    done = cluster(*arguments)
    assert done.exit_code == 2
    assert words in done.output
    assert len(done.output.strip().splitlines()) == 1


def test_a_file_without_edges_is_named(file: Path) -> None:
    other = file.with_name("other.duckdb")
    with duckdb.connect(other) as connection:
        connection.execute("CREATE TABLE cats (name VARCHAR)")
    done = cluster("--duckdb", str(other))
    assert done.exit_code == 2
    assert "neither table edge_stats nor edges" in done.output
