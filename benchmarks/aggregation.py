"""How fast, how small and how exact is the summing of edges, against the ways one would write first.

    python benchmarks/aggregation.py                      1e6 and 1e7 edges, writes benchmarks/results/aggregation.md
    python benchmarks/aggregation.py --rows 1e6 1e7 1e8   the full table; the page grows as each way ends
    python benchmarks/aggregation.py --rows 1e5 --dry-run a quick look, nothing written

The same synthetic graphs (Parquet, 10,000 edges and 300 nodes a prompt, neurons drawn with a power law) are summed to one row
per edge, positions dropped: instances, distinct prompts, sums of weight, |weight|, weight squared, flow and |flow|, smallest and
largest weight. Every way runs in a process of its own; time includes reading the Parquet files, memory is that process's peak. All
results are compared row by row before any number is reported.

    dict      a Python dictionary of running lists, prompt by prompt (how published pipelines do it)
    duckdb    one SQL statement with joins, double sums, COUNT(DISTINCT)
    polars    one lazy query with joins, double sums, n_unique
    ours      neuron_atlas.core.aggregation.graphs.edge_sums: exact integers; edges sorted by key, equal ones reduced

Ours works within 1 GB beside its result; DuckDB gets the limit below and may spill. What would need more than the machine has
is left out, and said so.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pyarrow.parquet as pq

from neuron_atlas.adapters.files import write_parquet
from neuron_atlas.core.aggregation.graphs.edge_packing import unpack
from neuron_atlas.core.aggregation.graphs.edge_sums import sum_edges
from neuron_atlas.core.aggregation.graphs.fixed_point import SCALE
from neuron_atlas.core.tables import EDGE_SUMS

NODES, EDGES = 300, 10_000
TOKENS, LOGITS = 40, 5
N_LAYERS, N_NEURONS = 32, 14_336
RESULTS = Path(__file__).parent / "results" / "aggregation.md"
FIGURE = RESULTS.with_suffix(".svg")
KEY = ["source_kind", "source_layer", "source", "target_kind", "target_layer", "target"]
SUMS = [
    "n",
    "n_prompts",
    "weight_sum",
    "weight_abs_sum",
    "weight_sq_sum",
    "flow_sum",
    "flow_abs_sum",
    "weight_min",
    "weight_max",
]
MOST_ROWS = {"dict": 10**7, "polars": 10**7, "duckdb": 10**8, "ours": 10**9}
"""More rows than this are not asked of a way: at ten times as many it would need more memory than the machine has."""
DUCKDB_MEMORY, DUCKDB_SPILL = "8GB", "40GB"
COMPARED_ROWS = 10**7
"""Results of more rows are not held against each other: both in memory would be more than the machine has."""
Result = dict[str, Any]
"""What one way told of one run."""
PROMPTS_AT_SCALE, PROMPTS_PER_SET = 800_000, 1000


# --------------------------------------------------------------------------------------------------------------- the graphs
def write_graphs(folder: Path, n_edges: int, *, seed: int = 0) -> None:
    """Tables graphs, targets, nodes and edges, as far as they are read, one Parquet file per table and 1,000 prompts."""
    rng = np.random.default_rng(seed)
    n_prompts = max(1, n_edges // EDGES)
    for first in range(0, n_prompts, 1000):
        prompts = [f"{i:016x}" for i in range(first, min(first + 1000, n_prompts))]
        frames: dict[str, list[pl.DataFrame]] = {"nodes": [], "edges": [], "targets": []}
        for prompt in prompts:
            for name, frame in _one_graph(prompt, rng).items():
                frames[name].append(frame)
        graphs = pl.DataFrame(
            {"prompt_id": prompts, "n_edges": [EDGES] * len(prompts)}, schema_overrides={"n_edges": pl.Int32}
        )
        for name, frame in {"graphs": graphs, **{k: pl.concat(v) for k, v in frames.items()}}.items():
            (folder / name).mkdir(parents=True, exist_ok=True)
            frame.write_parquet(folder / name / f"{first:08d}.parquet")


def _one_graph(prompt: str, rng: np.random.Generator) -> dict[str, pl.DataFrame]:
    n_neurons = NODES - TOKENS - LOGITS
    layer = np.sort(rng.integers(0, N_LAYERS, n_neurons))
    neuron = np.minimum((rng.pareto(0.6, n_neurons) * 3).astype(np.int64), N_NEURONS - 1)
    token = np.concatenate([rng.integers(0, 2000, TOKENS), np.full(n_neurons, -1), rng.integers(0, 2000, LOGITS)])
    nodes = pl.DataFrame(
        {
            "prompt_id": [prompt] * NODES,
            "node": np.arange(NODES, dtype=np.int32),
            "kind": ["embedding"] * TOKENS + ["neuron"] * n_neurons + ["logit"] * LOGITS,
            "layer": np.concatenate([np.full(TOKENS, -1), layer, np.full(LOGITS, N_LAYERS)]).astype(np.int16),
            "neuron": pl.Series(np.concatenate([np.full(TOKENS, -1), neuron, np.full(LOGITS, -1)]).astype(np.int32)),
            "token_id": pl.Series(token.astype(np.int32)),
            "activation": rng.normal(size=NODES).astype(np.float32),
            "relevance": rng.normal(size=NODES).astype(np.float32),
        }
    ).with_columns(
        neuron=pl.when(pl.col("kind") == "neuron").then(pl.col("neuron")),
        token_id=pl.when(pl.col("kind") != "neuron").then(pl.col("token_id")),
    )
    pairs = np.sort(rng.choice((NODES - TOKENS) * NODES, EDGES, replace=False))
    edges = pl.DataFrame(
        {
            "prompt_id": [prompt] * EDGES,
            "source": (pairs % NODES).astype(np.int32),
            "target": (TOKENS + pairs // NODES).astype(np.int32),
            "weight": rng.normal(size=EDGES).astype(np.float32),
        }
    )
    targets = nodes.filter(pl.col("kind") == "logit").select("prompt_id", "node", goal_weight=pl.lit(1.0, pl.Float32))
    return {"nodes": nodes, "edges": edges, "targets": targets}


# ----------------------------------------------------------------------------------------------------------------- the ways
def by_dict(folder: Path) -> pl.DataFrame:
    """One dictionary, one list of numbers per edge."""
    sums: dict[tuple[str, int, int, str, int, int], list[float]] = {}
    columns = ["node", "kind", "layer", "id", "slope"]
    for path in sorted((folder / "nodes").glob("*.parquet")):
        nodes = _with_slope(pl.read_parquet(path), pl.read_parquet(folder / "targets" / path.name))
        graphs = nodes.select("prompt_id", *columns).partition_by("prompt_id", as_dict=True, include_key=False)
        edges = pl.read_parquet(folder / "edges" / path.name).partition_by("prompt_id", as_dict=True, include_key=False)
        for prompt, graph in graphs.items():
            ends = {node: ((kind, layer, own), slope) for node, kind, layer, own, slope in graph.iter_rows()}
            for source, target, weight in edges[prompt].iter_rows():
                end, slope = ends[target]
                key = (*ends[source][0], *end)
                flow = weight * slope
                held = sums.get(key)
                if held is None:
                    sums[key] = [1, 1, weight, abs(weight), weight * weight, flow, abs(flow), weight, weight, prompt[0]]
                    continue
                held[0] += 1
                if held[9] != prompt[0]:
                    held[1] += 1
                    held[9] = prompt[0]
                held[2] += weight
                held[3] += abs(weight)
                held[4] += weight * weight
                held[5] += flow
                held[6] += abs(flow)
                held[7] = min(held[7], weight)
                held[8] = max(held[8], weight)
    keys = dict(zip(KEY, zip(*sums, strict=True), strict=True))
    values = list(zip(*sums.values(), strict=True))[:9]
    return pl.DataFrame({**keys, **dict(zip(SUMS, values, strict=True))})


def _with_slope(nodes: pl.DataFrame, targets: pl.DataFrame) -> pl.DataFrame:
    slope = pl.coalesce("goal_weight", pl.col("relevance").cast(pl.Float64) / pl.col("activation").cast(pl.Float64))
    joined = nodes.join(targets.cast({"goal_weight": pl.Float64}), on=["prompt_id", "node"], how="left")
    return joined.select("prompt_id", "node", "kind", "layer", id=pl.coalesce("neuron", "token_id"), slope=slope)


def by_duckdb(folder: Path) -> pl.DataFrame:
    """One SQL statement."""
    connection = duckdb.connect(
        config={
            "threads": 2,
            "temp_directory": str(folder / "spill"),
            "memory_limit": DUCKDB_MEMORY,
            "max_temp_directory_size": DUCKDB_SPILL,
        }
    )
    query = f"""
        WITH n AS (
            SELECT prompt_id, node, kind, layer, coalesce(neuron, token_id) AS id,
                   coalesce(goal_weight::DOUBLE, relevance::DOUBLE / activation::DOUBLE) AS slope
            FROM '{folder}/nodes/*.parquet' LEFT JOIN '{folder}/targets/*.parquet' USING (prompt_id, node)),
        e AS (
            SELECT e.prompt_id, weight::DOUBLE AS w, w * t.slope AS f, s.kind AS source_kind, s.layer AS source_layer,
                   s.id AS source, t.kind AS target_kind, t.layer AS target_layer, t.id AS target
            FROM '{folder}/edges/*.parquet' AS e
            JOIN n AS s ON s.prompt_id = e.prompt_id AND s.node = e.source
            JOIN n AS t ON t.prompt_id = e.prompt_id AND t.node = e.target)
        SELECT {", ".join(KEY)}, count(*) AS n, count(DISTINCT prompt_id) AS n_prompts, sum(w) AS weight_sum,
               sum(abs(w)) AS weight_abs_sum, sum(w * w) AS weight_sq_sum, sum(f) AS flow_sum, sum(abs(f)) AS flow_abs_sum,
               min(w) AS weight_min, max(w) AS weight_max
        FROM e GROUP BY ALL"""
    return pl.DataFrame(connection.sql(query).to_arrow_table())


def by_polars(folder: Path) -> pl.DataFrame:
    """One lazy query on the streaming engine."""
    nodes = pl.scan_parquet(folder / "nodes/*.parquet")
    targets = pl.scan_parquet(folder / "targets/*.parquet")
    slope = pl.coalesce("goal_weight", pl.col("relevance").cast(pl.Float64) / pl.col("activation").cast(pl.Float64))
    ends = nodes.join(targets.cast({"goal_weight": pl.Float64}), on=["prompt_id", "node"], how="left").select(
        "prompt_id", "node", "kind", "layer", id=pl.coalesce("neuron", "token_id"), slope=slope
    )
    source = ends.select("prompt_id", source="node", source_kind="kind", source_layer="layer", s="id")
    target = ends.select("prompt_id", "slope", target="node", target_kind="kind", target_layer="layer", t="id")
    weight = pl.col("weight").cast(pl.Float64)
    flow = weight * pl.col("slope")
    return (
        pl.scan_parquet(folder / "edges/*.parquet")
        .join(source, on=["prompt_id", "source"])
        .join(target, on=["prompt_id", "target"])
        .drop("source", "target")
        .rename({"s": "source", "t": "target"})
        .group_by(KEY)
        .agg(
            n=pl.len(),
            n_prompts=pl.col("prompt_id").n_unique(),
            weight_sum=weight.sum(),
            weight_abs_sum=weight.abs().sum(),
            weight_sq_sum=(weight * weight).sum(),
            flow_sum=flow.sum(),
            flow_abs_sum=flow.abs().sum(),
            weight_min=pl.col("weight").min(),
            weight_max=pl.col("weight").max(),
        )
        .collect(engine="streaming")
    )


def by_ours(folder: Path) -> pl.DataFrame:
    """The product's own way."""
    traced = pl.read_parquet(folder / "graphs/*.parquet").sort("prompt_id")
    known = pl.Enum(traced["prompt_id"])
    nodes = (
        pl.scan_parquet(folder / "nodes/*.parquet")
        .with_columns(pl.col("prompt_id").cast(known))
        .sort("prompt_id", "node")
    )
    edges = pl.scan_parquet(folder / "edges/*.parquet")
    return sum_edges(traced, nodes.collect(), pl.scan_parquet(folder / "targets/*.parquet"), edges)


WAYS: Mapping[str, Callable[[Path], pl.DataFrame]] = {
    "dict": by_dict,
    "duckdb": by_duckdb,
    "polars": by_polars,
    "ours": by_ours,
}


# ---------------------------------------------------------------------------------------------------------------- measuring
def in_plain_units(frame: pl.DataFrame) -> pl.DataFrame:
    """The columns every way has, fixed point as float, sorted."""
    quantized = [c for c in frame.columns if c.endswith("_q")]
    frame = unpack(frame.lazy()).collect() if quantized else frame
    plain = frame.with_columns((pl.col(c).cast(pl.Float64) / SCALE).alias(c.removesuffix("_q")) for c in quantized)
    return (
        plain.select(*KEY, *SUMS)
        .cast({c: EDGE_SUMS.schema[c] for c in KEY} | {"n": pl.Int64, "n_prompts": pl.Int64})
        .sort(KEY)
    )


def disagreement(one: pl.DataFrame, other: pl.DataFrame) -> float:
    """Largest absolute difference of any sum; raises if keys or counts differ."""
    if not one.select(*KEY, "n", "n_prompts").equals(other.select(*KEY, "n", "n_prompts")):
        raise SystemExit("two ways disagree on the edges or their counts")
    return max(float((one[c].cast(pl.Float64) - other[c].cast(pl.Float64)).abs().max() or 0) for c in SUMS[2:])


def memory(what: str) -> int:
    """Bytes this process holds (VmRSS) or held at most (VmHWM). Not `ru_maxrss`, which starts at the parent's."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(what))
    return int(line.split()[1]) * 1024


def run_way(name: str, folder: Path, out: Path) -> None:
    """In a process of its own: sum, and tell time and peak memory."""
    before = memory("VmRSS")
    start, cpu = time.perf_counter(), time.process_time()
    frame = WAYS[name](folder)
    seconds, cpu, peak = time.perf_counter() - start, time.process_time() - cpu, memory("VmHWM") - before
    told = {"seconds": seconds, "cpu": cpu, "peak": peak, "edges": frame.height, "result": frame.estimated_size()}
    write_parquet(EDGE_SUMS.checked(frame) if name == "ours" else frame, out)
    print(json.dumps(told))


def measure(rows: int, *, folder: Path, limit: float) -> Iterator[Result]:
    """All ways on the same graphs, checked against each other. One that fails, or takes longer than `limit` seconds, tells so."""
    write_graphs(folder, rows)
    reference: pl.DataFrame | None = None
    for name in reversed(WAYS):
        if rows > MOST_ROWS[name]:
            continue
        out = folder / f"{name}.parquet"
        command = [sys.executable, __file__, "--way", name, "--folder", str(folder), "--out", str(out)]
        environment = {**os.environ, "POLARS_MAX_THREADS": "2"}
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        try:
            told = subprocess.run(
                command, check=True, stdout=subprocess.PIPE, text=True, env=environment, timeout=limit
            )
        except subprocess.SubprocessError as error:
            what = f"stopped after {limit:,.0f} s" if isinstance(error, subprocess.TimeoutExpired) else "failed"
            spent = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
            print(f"{rows:>12,} rows  {name:<7} {what}", file=sys.stderr)
            yield {"way": name, "rows": rows, "ended": what, "cpu": spent}
            continue
        numbers: Result = json.loads(told.stdout.splitlines()[-1])
        numbers |= {"way": name, "rows": rows, "stored": out.stat().st_size, "difference": float("nan")}
        if rows <= COMPARED_ROWS:
            sums = in_plain_units(pl.read_parquet(out))
            reference = sums if reference is None else reference
            numbers["difference"] = disagreement(reference, sums)
        if name == "ours":
            numbers["columns"] = stored_bytes(out)
        print(
            f"{rows:>12,} rows  {name:<7} {numbers['seconds']:8.2f} s  {numbers['peak'] / 2**20:9,.0f} MiB",
            file=sys.stderr,
        )
        yield numbers


def stored_bytes(path: Path) -> dict[str, float]:
    """Bytes per row of every column of a Parquet file."""
    file = pq.ParquetFile(path).metadata
    groups = [file.row_group(i) for i in range(file.num_row_groups)]
    return {
        file.schema.column(i).name: sum(g.column(i).total_compressed_size for g in groups) / file.num_rows
        for i in range(file.num_columns)
    }


def report(results: list[Result], command: str) -> str:
    """The Markdown page."""
    lines = [
        "# Summing edges",
        "",
        f"`{command}` on {os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()},",
        f"polars {pl.__version__}, duckdb {duckdb.__version__}. What is measured: see the top of `benchmarks/aggregation.py`.",
        "",
        "| edges in | way | seconds | CPU s | million edges/CPU s | against duckdb | peak MiB | of it result | edges out "
        "| difference |",
        "|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    duck = {r["rows"]: r["cpu"] for r in results if r["way"] == "duckdb" and "ended" not in r}
    for r in results:
        if "ended" in r:
            lines.append(f"| {r['rows']:,} | {r['way']} | {r['ended']} | >{r['cpu']:,.0f} | | | | | | |")
            continue
        ratio = f"{duck[r['rows']] / r['cpu']:.1f}x" if r["rows"] in duck else ""
        difference = "" if math.isnan(r["difference"]) else f"{r['difference']:.1g}"
        lines.append(
            f"| {r['rows']:,} | {r['way']} | {r['seconds']:.2f} | {r['cpu']:.2f} | {r['rows'] / r['cpu'] / 1e6:.2f} | {ratio} "
            f"| {r['peak'] / 2**20:,.0f} | {r['result'] / 2**20:,.0f} | {r['edges']:,} | {difference} |"
        )
    lines += [
        "",
        "*CPU s* counts all threads and hardly depends on what else the machine does; *against duckdb* compares it. *Peak* is",
        "the process's, less what it held before; *of it result* is the frame it returns. *Difference* is the largest of any",
        "sum, minimum or maximum against ours, which is exact to 2^-31 per edge and the same for every order of rows; float sums",
        f"depend on it (compared up to {COMPARED_ROWS:,} edges). At 1e8 edges a dictionary and polars would need some 20 and",
        f"70 GB; DuckDB has {DUCKDB_MEMORY} of memory and {DUCKDB_SPILL} of disk to spill to.",
        "",
        *_storage(results),
        *_growth(results),
    ]
    return "\n".join(lines) + "\n"


def _finished_ours(results: list[Result]) -> list[Result]:
    return [r for r in results if r["way"] == "ours" and "ended" not in r]


def _storage(results: list[Result]) -> list[str]:
    """Bytes per column of ours."""
    ours = _finished_ours(results)
    totals = ", ".join(
        f"{r['stored'] / r['edges']:.1f} ({r['stored'] / r['rows']:.1f} per edge that went in) at {r['rows']:,}"
        for r in ours
    )
    lines = ["## On disk", "", f"Bytes per summed edge of table `edge_sums` as the lake stores it: {totals}.", ""]
    names = [r["rows"] for r in ours]
    lines += ["| column | " + " | ".join(f"{rows:,}" for rows in names) + " |", "|---|" + "---:|" * len(names)]
    for column in ours[0]["columns"]:
        lines.append(f"| {column} | " + " | ".join(f"{r['columns'][column]:.2f}" for r in ours) + " |")
    return [
        *lines,
        "",
        "These weights are normal random numbers, the worst case: 23 random bits of mantissa, sign and exponent are 3.5 bytes",
        "that no encoding removes. What is lossless and saves most: sums that follow from one or two weights are left out.",
        "",
    ]


def _growth(results: list[Result]) -> list[str]:
    """Straight line through CPU time, and what it says of many prompts."""
    ours = _finished_ours(results)
    if len(ours) < 2:
        return []
    x, y = (np.array([float(r[k]) for r in ours]) for k in ("rows", "cpu"))
    slope, start = np.polyfit(x, y, 1)
    power = float(np.polyfit(np.log(x), np.log(y), 1)[0])
    steps = ", ".join(f"{step:.2f}" for step in np.diff(np.log(y)) / np.diff(np.log(x)))
    per_set = EDGES * PROMPTS_PER_SET
    one = min(ours, key=lambda r: abs(r["rows"] - per_set))
    sets = PROMPTS_AT_SCALE / PROMPTS_PER_SET
    scale = sets * per_set / one["rows"]
    return [
        "## Growth",
        "",
        f"![CPU seconds against edges]({FIGURE.name})",
        "",
        f"CPU time = {start:.1f} s + {slope * 1e6:.2f} s per million edges (straight line by least squares); on logarithms",
        f"it grows as rows^{power:.2f}, step by step {steps} (1 is linear).",
        "",
        f"On paper, {PROMPTS_AT_SCALE:,} prompts as {sets:,.0f} prompt sets of {PROMPTS_PER_SET:,} ({sets * per_set:.1g} edges):",
        f"{scale * one['cpu'] / 3600:.1f} CPU hours, {scale * one['stored'] / 2**30:.0f} GiB of sums on disk, "
        f"{one['peak'] / 2**30:.1f} GiB of memory for each set.",
        "Sets are independent, so they run side by side, and a new one costs its own size.",
    ]


def draw_growth(results: list[Result], path: Path) -> None:
    """CPU time of every way against edges, both on logarithms, with the slope of each line."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.add_subplot()
    for way in WAYS:
        ended = [r for r in results if r["way"] == way and "ended" not in r]
        if not ended:
            continue
        x, y = (np.array([float(r[k]) for r in ended]) for k in ("rows", "cpu"))
        slope = f", rows^{np.polyfit(np.log(x), np.log(y), 1)[0]:.2f}" if len(ended) > 1 else ""
        axes.plot(x, y, marker="o", linewidth=2.5 if way == "ours" else 1.2, label=f"{way}{slope}")
    axes.set(xscale="log", yscale="log", xlabel="edges in", ylabel="CPU seconds", title="Summing edges")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=float, nargs="+", default=[1e6, 1e7], help="numbers of edges")
    parser.add_argument("--limit", type=float, default=3600, help="seconds after which a way is stopped [3600]")
    parser.add_argument("--dry-run", action="store_true", help="print the page instead of writing it")
    parser.add_argument("--way", choices=list(WAYS), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        run_way(options.way, options.folder, options.out)
        return
    results: list[Result] = []
    command = "python benchmarks/aggregation.py --rows " + " ".join(f"{r:.0e}".replace("+0", "") for r in options.rows)
    for rows in options.rows:
        with tempfile.TemporaryDirectory() as folder:
            for result in measure(int(rows), folder=Path(folder), limit=options.limit):
                results.append(result)
                if not options.dry_run:
                    RESULTS.parent.mkdir(exist_ok=True)
                    RESULTS.write_text(report(results, command))
                    draw_growth(results, FIGURE)
    if options.dry_run:
        print(report(results, command))


if __name__ == "__main__":
    main()
