"""How many threads sum, and in which order rows come, changes no byte."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

Raw = Callable[..., dict[str, pl.LazyFrame]]

SUM = """
import json, sys
from pathlib import Path
import polars as pl
from neuron_atlas.core.aggregation.graphs.direct_effect_ratio import der_scores
from neuron_atlas.core.aggregation.graphs.edge_stats import edge_statistics
from neuron_atlas.core.aggregation.graphs.graph_stats import sum_graphs
from neuron_atlas.core.hashing import frame_hash

raw = {path.stem: pl.scan_parquet(path) for path in Path(sys.argv[1]).glob("*.parquet")}
sums = sum_graphs(raw, prompt_set="tiny", kind="domain", special_ids=frozenset({0}))
stacked = {name: frame.lazy() for name, frame in sums.items()}
made = {**sums, **edge_statistics(stacked, token_text={}), **der_scores(stacked)}
print(json.dumps({name: frame_hash(frame) for name, frame in made.items()} | {"threads": pl.thread_pool_size()}))
"""


def summed(folder: Path, *, threads: int) -> dict[str, Any]:
    environment = {**os.environ, "POLARS_MAX_THREADS": str(threads)}
    command = [sys.executable, "-c", SUM, str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=120, env=environment)
    return json.loads(done.stdout)


def test_threads_and_the_order_of_rows_change_no_byte(make_raw: Raw, graph: Any, tmp_path: Path) -> None:
    """Weights are thirds and sevenths, which no binary fraction holds, so float sums would differ."""
    rng = np.random.default_rng(0)
    graphs: list[Any] = []
    for prompt in range(60):
        places = rng.permutation(4 * 6 * 20)[:40]
        neurons = [
            (int(p) // 120, int(p) // 20 % 6, int(p) % 20, *(rng.integers(-9, 9, 3) / 7)) for p in sorted(places)
        ]
        ends = rng.integers(0, 40, (300, 2))
        pairs = {(f"n{min(a, b)}", f"n{max(a, b)}") for a, b in ends.tolist() if a != b}
        edges = [(source, target, float(rng.integers(-9, 9) / 3)) for source, target in sorted(pairs)]
        graphs.append(graph(f"{prompt:016x}", rng.integers(0, 9, 6).tolist(), neurons, edges=edges))
    for name, frame in make_raw(graphs).items():
        rows = frame.collect()
        for order, shown in (("given", rows), ("mixed", rows.sample(fraction=1, shuffle=True, seed=1))):
            (tmp_path / order).mkdir(exist_ok=True)
            shown.write_parquet(tmp_path / order / f"{name}.parquet", row_group_size=500)
    one, many, mixed = (summed(tmp_path / o, threads=n) for o, n in (("given", 1), ("given", 4), ("mixed", 3)))
    assert (one.pop("threads"), many.pop("threads"), mixed.pop("threads")) == (1, 4, 3)
    assert one == many
    assert one == mixed
