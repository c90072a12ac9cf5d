"""Summing stays within its memory limit, measured on a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from neuron_atlas.core.aggregation.graphs.edge_packing import pack
from neuron_atlas.core.aggregation.graphs.fixed_point import fixed_point
from neuron_atlas.core.tables import EDGE_SUMS

NODES, EDGES = 250, 25_000

HELD = """
import json, sys
from pathlib import Path
import polars as pl

def held(what):
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(what))
    return int(line.split()[1]) * 1024
"""

MEASURE = """
from neuron_atlas.core.aggregation.graphs.edge_sums import sum_edges

folder, limit = Path(sys.argv[1]), int(sys.argv[2])
before = held("VmRSS")
traced = pl.read_parquet(folder / "graphs.parquet")
nodes = pl.read_parquet(folder / "nodes.parquet").with_columns(pl.col("prompt_id").cast(pl.Enum(traced["prompt_id"])))
sums = sum_edges(traced, nodes, pl.scan_parquet(folder / "targets.parquet"), pl.scan_parquet(folder / "edges.parquet"),
                 chunk=50_000, memory_bytes=limit)
print(json.dumps({"work": held("VmHWM") - before - sums.estimated_size(), "n": int(sums["n"].sum())}))
"""


def write_graphs(folder: Path, n_prompts: int) -> None:
    """Graphs whose edges hardly repeat; only the columns that are read."""
    rng = np.random.default_rng(0)
    ids = [f"{i:016x}" for i in range(n_prompts)]
    pl.DataFrame({"prompt_id": ids, "n_edges": [EDGES] * n_prompts}).write_parquet(folder / "graphs.parquet")
    total = n_prompts * NODES
    nodes = pl.DataFrame(
        {
            "prompt_id": np.repeat(ids, NODES),
            "node": np.tile(np.arange(NODES, dtype=np.int32), n_prompts),
            "kind": ["neuron"] * total,
            "layer": np.tile(np.arange(NODES) // 50, n_prompts).astype(np.int16),
            "neuron": rng.integers(0, 5000, total).astype(np.int32),
            "activation": rng.normal(size=total).astype(np.float32),
            "relevance": rng.normal(size=total).astype(np.float32),
        }
    ).with_columns(token_id=pl.lit(None, pl.Int32))
    nodes.write_parquet(folder / "nodes.parquet")
    schema = {"prompt_id": pl.String, "node": pl.Int32, "goal_weight": pl.Float32}
    pl.DataFrame(schema=schema).write_parquet(folder / "targets.parquet")
    edges = pl.DataFrame(
        {
            "prompt_id": np.repeat(ids, EDGES),
            "source": rng.integers(0, NODES, n_prompts * EDGES).astype(np.int32),
            "target": rng.integers(0, NODES, n_prompts * EDGES).astype(np.int32),
            "weight": rng.normal(size=n_prompts * EDGES).astype(np.float32),
        }
    )
    edges.write_parquet(folder / "edges.parquet", row_group_size=100_000)


MEASURE_MERGING = """
from neuron_atlas.core.aggregation.graphs.edge_stats import edge_statistics
from neuron_atlas.core.tables import tables_of

folder, limit = Path(sys.argv[1]), int(sys.argv[2])
before = held("VmRSS")
sums = {table.name: table.empty().lazy() for table in tables_of("graph_stats")}
tables = {**sums, "edge_sums": pl.scan_parquet(folder / "*.parquet")}
stats = edge_statistics(tables, token_text={}, memory_bytes=limit)["edge_stats"]
print(json.dumps({"work": held("VmHWM") - before - stats.estimated_size(), "n": int(stats["n"].sum())}))
"""


def write_sums(folder: Path, n_sets: int, rows: int) -> None:
    """Edge sums of prompt sets that share hardly an edge."""
    rng = np.random.default_rng(0)
    for number in range(n_sets):
        weight = rng.normal(size=rows).astype(np.float32)
        edges = pl.LazyFrame(
            {
                "source_kind": ["neuron"] * rows,
                "source_layer": rng.integers(0, 10, rows).astype(np.int16),
                "source": rng.integers(0, 5000, rows).astype(np.int32),
                "target_kind": ["neuron"] * rows,
                "target_layer": np.full(rows, 11, np.int16),
                "target": np.arange(rows, dtype=np.int32),
                "weight": weight,
            }
        )
        once = {column: pl.lit(1, pl.Int64) for column in ("n", "n_prompts")} | {"n_positive": pl.lit(0, pl.Int64)}
        exact = pl.col("weight").cast(pl.Float64)
        sums = {f"weight_{name}_q": fixed_point(value) for name, value in
                (("sum", exact), ("abs_sum", exact.abs()), ("sq_sum", exact * exact))}  # fmt: skip
        flows = {f"flow_{name}_q": fixed_point(value) for name, value in (("sum", exact), ("abs_sum", exact.abs()))}
        extremes = {name: pl.col("weight") for name in ("weight_min", "weight_max")}
        slopes = {name: pl.lit(1.0) for name in ("slope_min", "slope_max")}
        packed = pack(edges.select(pl.exclude("weight"), **once, **sums, **flows, **extremes, **slopes)).collect()
        EDGE_SUMS.checked(packed).write_parquet(folder / f"{number}.parquet")


def measured(folder: Path, *, limit: int, script: str = MEASURE) -> dict[str, int]:
    command = [sys.executable, "-c", HELD + script, str(folder), str(limit)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=120).stdout)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_work_beside_the_result_is_bounded_however_many_edges(tmp_path: Path) -> None:
    """2 million edges would take 100 MB to sort at once; with 20 MB they are read for a range of keys at a time."""
    write_graphs(tmp_path, 80)
    limited, free = measured(tmp_path, limit=20 * 2**20), measured(tmp_path, limit=2**30)
    assert limited["n"] == free["n"] == 80 * EDGES
    assert limited["work"] < free["work"] - 25 * 2**20
    assert limited["work"] < 150 * 2**20  # 20 MB, and what libraries, reading and summing a chunk take


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_merging_prompt_sets_is_bounded_too(tmp_path: Path) -> None:
    """800,000 rows of four sets take some 300 MB to add at once."""
    write_sums(tmp_path, 4, 200_000)
    limited = measured(tmp_path, limit=50 * 2**20, script=MEASURE_MERGING)
    free = measured(tmp_path, limit=2**30, script=MEASURE_MERGING)
    assert limited["n"] == free["n"] == 800_000
    assert limited["work"] < free["work"] - 100 * 2**20
    assert limited["work"] < 250 * 2**20  # 50 MB, and what libraries and reading take
