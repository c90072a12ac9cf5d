"""Graphs in the making: a killed run redoes only what is missing, and ends with the same bytes."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import polars as pl
import pytest

from neuron_atlas.adapters.graphs.shards import GraphShards
from neuron_atlas.core.records import AttributionGraph, GraphSummary, Prompt, PromptSet, Quarantined, TraceOptions
from neuron_atlas.core.tables import EDGES, NODES, TARGETS, tables_of
from neuron_atlas.errors import ConfigurationChanged, Incomplete

PROMPTS = PromptSet("letters", "domain", tuple(Prompt(f"prompt {i}", tags={"n": str(i)}) for i in range(10)))


def draw(prompt: Prompt) -> AttributionGraph | Quarantined:
    """A small graph that follows from its prompt alone; the eighth prompt cannot be traced."""
    if prompt.text == "prompt 7":
        return Quarantined(prompt, "it is the seventh")
    n = int(prompt.text.split()[1]) + 2
    rng = random.Random(n)
    nodes = pl.DataFrame(
        {
            "node": range(n), "kind": ["embedding"] * (n - 1) + ["logit"], "layer": [-1] * (n - 1) + [6],
            "position": range(n), "neuron": [None] * n, "token_id": range(n),
            **{name: [rng.random() for _ in range(n)]
               for name in ("activation", "relevance", "direct", "influence", "bias", "error")},
        },
        schema={k: v for k, v in NODES.schema.items() if k != "prompt_id"},
    )  # fmt: skip
    edges = pl.DataFrame(
        {"source": range(n - 1), "target": [n - 1] * (n - 1), "weight": [rng.random() for _ in range(n - 1)]},
        schema={k: v for k, v in EDGES.schema.items() if k != "prompt_id"},
    )
    targets = pl.DataFrame(
        {"node": [n - 1], "token_id": [3], "token": [" x"], "logit": [1.5], "probability": [0.5], "goal_weight": [1.0]},
        schema={k: v for k, v in TARGETS.schema.items() if k != "prompt_id"},
    )
    summary = GraphSummary((1, 2), ("a", "b"), 1, "top_k", 1.5, "relp/1", "float32", False, 0.9, 0.8, 1e-6, 0.95, "")
    return AttributionGraph(prompt, nodes, edges, targets, summary)


def shards(folder: Path, **changes: object) -> GraphShards:
    settings = {
        "prompt_set": PROMPTS, "options": TraceOptions(), "model_revision": "m1", "code_version": "1", "shard_prompts": 3,
    }  # fmt: skip
    return GraphShards(folder, **(settings | changes))


def fill(run: GraphShards) -> None:
    for batch in run.batches():
        run.add([draw(prompt) for prompt in batch])


@pytest.fixture
def unbroken(tmp_path: Path) -> dict[str, pl.DataFrame]:
    run = shards(tmp_path / "unbroken")
    fill(run)
    return run.collect()


def test_all_four_tables_are_collected_in_their_tables_order(unbroken: dict[str, pl.DataFrame]) -> None:
    assert set(unbroken) == {table.name for table in tables_of("raw_graphs")}
    for table in tables_of("raw_graphs"):
        assert table.checked(unbroken[table.name]).equals(unbroken[table.name])
    graphs = unbroken["graphs"]
    assert graphs.height == 10
    (row,) = graphs.filter(pl.col("reason").is_not_null()).to_dicts()
    assert (row["text"], row["reason"], row["n_nodes"], row["tags"]) == (
        "prompt 7",
        "it is the seventh",
        None,
        '{"n": "7"}',
    )
    traced = graphs.filter(text="prompt 4").to_dicts()[0]
    assert (traced["n_nodes"], traced["n_edges"], traced["tokens"]) == (6, 5, ["a", "b"])
    assert json.loads(traced["options"])["tau"] == 0.005
    assert unbroken["edges"].height == sum(n + 1 for n in range(10) if n != 7)


def test_missing_prompts_are_whole_shards_in_order_and_shrink(tmp_path: Path) -> None:
    run = shards(tmp_path / "run")
    assert [p.text for p in run.missing()] == [f"prompt {i}" for i in range(10)]
    batches = list(run.batches())
    assert [len(batch) for batch in batches] == [3, 3, 3, 1]
    run.add([draw(prompt) for prompt in batches[1]])
    again = shards(tmp_path / "run")
    assert [p.text for p in again.missing()] == [f"prompt {i}" for i in (0, 1, 2, 6, 7, 8, 9)]
    with pytest.raises(Incomplete, match="7 prompts of 'letters' are not traced yet"):
        again.collect()


def test_results_that_are_no_whole_shard_are_refused(tmp_path: Path) -> None:
    run = shards(tmp_path / "run")
    with pytest.raises(ValueError, match="not whole shards"):
        run.add([draw(prompt) for prompt in run.missing()[:2]])
    run.add([draw(prompt) for prompt in run.missing()])  # several whole shards at once are fine
    assert run.missing() == []


def test_a_prompt_that_stands_twice_is_traced_once(tmp_path: Path) -> None:
    twice = PromptSet("twice", "domain", (Prompt("prompt 1"), Prompt("prompt 2"), Prompt("prompt 1", tags={"n": "1"})))
    run = shards(tmp_path / "run", prompt_set=twice)
    assert [p.text for p in run.missing()] == ["prompt 1", "prompt 2"]
    fill(run)
    assert run.collect()["graphs"].height == 2


def test_other_settings_are_refused_and_the_difference_is_shown(tmp_path: Path) -> None:
    shards(tmp_path / "run")
    for changes, words in (
        ({"options": TraceOptions(tau=0.02)}, "option tau was 0.005, is 0.02"),
        ({"model_revision": "m2"}, "model_revision was m1, is m2"),
        ({"code_version": "2"}, "code_version was 1, is 2"),
        ({"prompt_set": PromptSet("letters", "domain", PROMPTS.prompts[:9])}, "prompts was"),
    ):
        with pytest.raises(ConfigurationChanged, match=words):
            shards(tmp_path / "run", **changes)
    shards(tmp_path / "run").discard()
    shards(tmp_path / "run", model_revision="m2")  # afresh


@pytest.mark.parametrize("damage", ["flip", "cut", "gone", "note"])
def test_a_damaged_shard_is_made_again(tmp_path: Path, unbroken: dict[str, pl.DataFrame], damage: str) -> None:
    run = shards(tmp_path / "run")
    fill(run)
    victim = sorted(tmp_path.glob("run/*/edges.parquet"))[1]
    content = bytearray(victim.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
        victim.write_bytes(content)
    elif damage == "cut":
        victim.write_bytes(content[:-9])
    elif damage == "gone":
        victim.unlink()
    else:
        (victim.parent / "shard.json").write_text("{")
    again = shards(tmp_path / "run")
    assert 0 < len(again.missing()) <= 3
    fill(again)
    for name, frame in again.collect().items():
        assert frame.equals(unbroken[name])


WORKER = """
    import sys, importlib.util, time
    from pathlib import Path
    spec = importlib.util.spec_from_file_location("shard_tests", sys.argv[1])
    tests = importlib.util.module_from_spec(spec)
    sys.modules["shard_tests"] = tests
    spec.loader.exec_module(tests)
    run = tests.shards(Path(sys.argv[2]), shard_prompts=1)
    print("ready", flush=True)
    for batch in run.batches():
        run.add([tests.draw(prompt) for prompt in batch])
"""


def test_a_run_killed_at_any_instant_ends_with_the_bytes_of_an_unbroken_one(
    tmp_path: Path, unbroken: dict[str, pl.DataFrame]
) -> None:
    rng = random.Random(20)
    command = [sys.executable, "-c", textwrap.dedent(WORKER), __file__, str(tmp_path / "run")]
    finished: list[int] = []
    for _ in range(4):
        with subprocess.Popen(command, stdout=subprocess.PIPE) as worker:
            assert worker.stdout is not None
            worker.stdout.readline()
            time.sleep(rng.uniform(0.0, 0.06))  # the instant of the kill, not a wait for anything
            worker.kill()
        finished.append(10 - len(shards(tmp_path / "run", shard_prompts=1).missing()))
    assert finished == sorted(finished), "what was finished stays finished"
    run = shards(tmp_path / "run", shard_prompts=1)
    fill(run)
    for name, frame in run.collect().items():
        frame.write_parquet(tmp_path / "a.parquet")
        unbroken[name].write_parquet(tmp_path / "b.parquet")
        assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    assert not list((tmp_path / "run").glob(".*.tmp"))


def test_an_edge_takes_at_most_twelve_bytes(tmp_path: Path) -> None:
    """Parquet of one graph with 200,000 edges of random weights."""
    rng = random.Random(0)
    n, prompt = 650, PROMPTS.prompts[0]
    small = draw(prompt)
    pairs = [(source, target) for target in range(n) for source in range(target)][:200_000]
    edges = pl.DataFrame(
        {"source": [s for s, _ in pairs], "target": [t for _, t in pairs], "weight": [rng.gauss(0, 1) for _ in pairs]},
        schema=small.edges.schema,
    )
    one = PromptSet("one", "domain", (prompt,))
    run = shards(tmp_path / "run", prompt_set=one)
    run.add([AttributionGraph(prompt, small.nodes, edges, small.logits, small.summary)])
    (file,) = tmp_path.glob("run/*/edges.parquet")
    assert file.stat().st_size / len(pairs) < 12
