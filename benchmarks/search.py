"""Does a filter cost results? Recall and latency of filtered vector search, against plain pgvector and the published approach.

    python benchmarks/search.py                      100,000 labels (some minutes)
    python benchmarks/search.py --labels 900000      as many as two neurons of Llama-3.1-8B's 458,752 have sides (an hour or so)

Labels are synthetic: each has a text and a vector of its own, drawn around one of many centres (384 dimensions, stored as halfvec),
and they are loaded by `load_labels` as any label set is. Questions are new points around the same centres. A filter lets
through a share of the labels: by score, which has nothing to do with meaning ("score"), or by layer, where a layer holds whole
clusters and never the question's own ("far"). The ways are asked the same questions over the same HNSW index, one after the
other, and held against an exact scan in numpy of what the filter lets through:

- ours: `NeuronDb.search(mode="meaning")`;
- plain: one statement that joins, filters, sorts by distance and takes ten, with pgvector's settings as they come;
- published: the same after `set hnsw.ef_search = min(2 k, 1000)`, as Transluce's NeuronDB asks;
- ef 1000: the same with the largest ef_search there is.

The planner is free in all of them. Recall counts neighbours by similarity, so that ties do not matter; a way that returns too
few rows loses what is missing. Results are added to benchmarks/results/search.md, a section per number of labels.
"""

from __future__ import annotations

import argparse
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pgvector import HalfVector

from neuron_atlas.adapters.neuron_db import NeuronDb, load_labels, open_neuron_db
from neuron_atlas.adapters.postgres import Connection, Server, ensure_database, start_embedded, stop_embedded
from neuron_atlas.core.layer_ranges import LayerRanges
from neuron_atlas.core.publication.search.search_query import LabelConditions
from neuron_atlas.core.records import ModelSpec, Tables
from neuron_atlas.core.tables import LABEL_SCORES, OUTPUT_LABELS, Table

RESULTS = Path(__file__).parent / "results" / "search.md"
HEAD = "# Filtered search\n\n`python benchmarks/search.py --labels N`: that file says what is asked and how it is judged.\n"
DIMENSION = 384
PER_CENTRE = 100
SPREAD = 0.7
"""Noise around a centre, relative to its length: neighbours have a cosine of about 0.67."""
LAYERS = 32
SHARES = (1.0, 0.1, 0.01, 0.001, 0.0001)
K = 10
MOST_S = 120.0
"""Longest time for one way under one filter."""

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class World:
    """Labels with vectors [n, 384] (rounded as they are stored), scores [n] and layers [n], and questions with their layers."""

    vectors: Vectors
    scores: Vectors
    layers: NDArray[np.int16]
    questions: Vectors
    homes: NDArray[np.int16]


def make_world(n: int, *, questions: int, seed: int = 0) -> World:
    """Centres stand in groups of a layer each, so that a layer is a region of the space."""
    rng = np.random.default_rng(seed)
    n_centres = n // PER_CENTRE
    regions = unit(rng.standard_normal((LAYERS, DIMENSION), np.float32))
    layer_of_centre = np.arange(n_centres) % LAYERS
    centres = unit(regions[layer_of_centre] + unit(rng.standard_normal((n_centres, DIMENSION), np.float32)))
    member = rng.integers(0, n_centres, n)
    vectors = around(centres[member], rng)
    asked = rng.integers(0, n_centres, questions)
    return World(
        vectors.astype(np.float16).astype(np.float32),
        rng.random(n, np.float32),
        layer_of_centre[member].astype(np.int16),
        around(centres[asked], rng),
        layer_of_centre[asked].astype(np.int16),
    )


def around(points: Vectors, rng: np.random.Generator) -> Vectors:
    """Points on the unit sphere near given ones."""
    noisy = np.empty_like(points)
    for start in range(0, len(points), 50_000):
        part = points[start : start + 50_000]
        noisy[start : start + len(part)] = unit(part + SPREAD * unit(rng.standard_normal(part.shape, np.float32)))
    return noisy


def unit(rows: Vectors) -> Vectors:
    """Rows of length 1."""
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


class KnownVectors:
    """An embedder that knows the vector of "label 17"."""

    embedder_id = "synthetic@1"
    dimension = DIMENSION

    def __init__(self, vectors: Vectors) -> None:
        self._vectors = vectors

    def embed(self, texts: Sequence[str]) -> Vectors:
        return self._vectors[[int(text.split()[1]) for text in texts]]


def label_tables(world: World) -> Tables:
    """The label tables of a world: one output label per neuron, scored."""
    n = len(world.vectors)
    at = pl.DataFrame({"layer": world.layers, "neuron": np.arange(n, dtype=np.int32), "polarity": np.ones(n, np.int8)})
    labels = at.with_columns(
        label="label " + pl.col("neuron").cast(pl.String), labeler=pl.lit("rules"), version=pl.lit("1"), type=pl.lit("semantic"),
        direction=pl.lit(1),
    )  # fmt: skip
    scores = at.with_columns(
        labeler=pl.lit("rules"), side=pl.lit("output"), metric=pl.lit("intervention"), corrected=pl.Series(world.scores),
    )  # fmt: skip
    return {
        table.name: filled(table, frame).lazy() for table, frame in ((OUTPUT_LABELS, labels), (LABEL_SCORES, scores))
    }


def filled(table: Table, frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with the columns it lacks, empty."""
    blank = {pl.String(): "", pl.Boolean(): False}
    absent = [c for c in table.columns if c.name not in frame.columns]
    values = [None if c.optional else [] if isinstance(c.dtype, pl.List) else blank.get(c.dtype, 0) for c in absent]
    return frame.with_columns(pl.lit(v, dtype=c.dtype).alias(c.name) for v, c in zip(values, absent, strict=True))


# --------------------------------------------------------------------------------------------------------------------- the ways
@dataclass(frozen=True)
class Question:
    """A vector, what the filter says, how many labels pass it, and the similarities of the nearest of those, falling."""

    vector: Vectors
    filters: LabelConditions
    passing: int
    truth: Vectors


Way = Callable[[Question], list[float]]
"""The similarities of the rows it found."""


def ours(neuron_db: NeuronDb) -> Way:
    def ask(question: Question) -> list[float]:
        hits = neuron_db.search(question.vector, mode="meaning", filters=question.filters, limit=K).hits
        return [hit.similarity or 0.0 for hit in hits]

    return ask


def plain(neuron_db: NeuronDb, ef_search: int | None) -> Way:
    """One statement, planned and run by the server as it comes."""

    def ask(question: Question) -> list[float]:
        def work(connection: Connection) -> list[float]:
            if ef_search is not None:
                connection.execute("select set_config('hnsw.ef_search', %s, true)", [str(ef_search)])
            filters = question.filters
            clause = "score >= %(least)s" if filters.layers is None else "layer between %(least)s and %(most)s"
            least, most = (filters.min_score, None)
            if filters.layers is not None:
                ((least, most),) = LayerRanges.of(filters.layers).ranges
            rows = connection.execute(
                f"select 1 - (embedding::halfvec({DIMENSION}) <=> %(vector)s::halfvec({DIMENSION})) "
                "from neuron_db.descriptions join neuron_db.embeddings using (label_set, text_key) "
                f"where label_set = 1 and is_preferred and {clause} "
                f"order by embedding::halfvec({DIMENSION}) <=> %(vector)s::halfvec({DIMENSION}) limit {K}",
                {"vector": HalfVector(question.vector).to_text(), "least": least, "most": most},
            ).fetchall()
            return [float(similarity) for (similarity,) in rows]

        return neuron_db.server.run(work, read_only=True)

    return ask


@dataclass(frozen=True)
class Measured:
    """One way under one filter: questions asked, mean recall, the share of questions with fewer rows than exist, latency in ms."""

    asked: int
    recall: float
    short: float
    median_ms: float
    p95_ms: float


def measure(way: Way, questions: Sequence[Question]) -> Measured:
    """Ask until all are asked, or `MOST_S` are over."""
    recalls, shorts, times = [], [], []
    way(questions[0])  # the first question warms the page cache; it is not counted
    for question in questions:
        truth = question.truth
        started = time.perf_counter()
        found = way(question)
        times.append((time.perf_counter() - started) * 1000)
        recalls.append(
            sum(similarity >= truth[-1] - 1e-3 * 0.5 for similarity in found) / len(truth) if len(truth) else 1.0
        )
        shorts.append(len(found) < len(truth))
        if sum(times) > 1000 * MOST_S:
            break
    return Measured(
        len(times),
        float(np.mean(recalls)),
        float(np.mean(shorts)),
        float(np.median(times)),
        float(np.quantile(times, 0.95)),
    )


def questions_of(world: World, similarities: Vectors, share: float, kind: str) -> list[Question]:
    """The questions of a world under one filter; `similarities` [questions, n] are those with every label."""
    found = []
    for vector, home, near in zip(world.questions, world.homes, similarities, strict=True):
        if kind == "score":
            least = float(np.float32(1 - share)) if share < 1 else 0.0
            filters, passing = LabelConditions(min_score=least), world.scores >= np.float32(least)
        else:
            other = int((home + LAYERS // 2) % LAYERS)
            filters, passing = LabelConditions(layers=(other, other)), world.layers == other
        found.append(Question(vector, filters, int(passing.sum()), -np.sort(-near[passing])[:K]))
    return found


# ---------------------------------------------------------------------------------------------------------------------- the run
def run(n: int, folder: Path, *, n_questions: int) -> str:
    """Load, ask, and tell it as a section of Markdown."""
    world = make_world(n, questions=n_questions)
    try:
        server = ensure_database(start_embedded(folder / "postgres"), "bench")
        started = time.perf_counter()
        model = ModelSpec("synthetic", "synthetic", "llama", LAYERS, n, DIMENSION, 2, "float32")
        report = load_labels(
            server, model=model, version="v1", tables=label_tables(world), embedder=KnownVectors(world.vectors)
        )
        loaded = time.perf_counter() - started
        with open_neuron_db(server) as neuron_db:
            recall = neuron_db.check_recall().recall
        state = f"Loaded in {loaded:.0f} s with its index" if report.is_new else "Loaded before"
        say(f"{n} labels: {state}, recall check {recall:.4f}")
        return section(world, server, f"{state}; the check of 200 questions says recall@{K} {recall:.4f}")
    finally:
        stop_embedded(folder / "postgres")


def section(world: World, server: Server, state: str) -> str:
    n = len(world.vectors)
    lines = [
        f"## {n:,} labels", "",
        f"{state}. {len(world.questions)} questions a line, or as many as fit into {MOST_S:.0f} s. Embedded PostgreSQL, 64 MB "
        f"of shared buffers; two cores ({platform.machine()}) shared with other work: compare within a filter, not times in "
        "themselves.",
        "",
        "| filter | passes | way | asked | recall@10 | too few rows | median ms | p95 ms |", "|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    with open_neuron_db(server, timeout_ms=600_000) as neuron_db:
        ways: dict[str, Way] = {
            "ours": ours(neuron_db),
            "plain (ef 40)": plain(neuron_db, None),
            f"published (ef {2 * K})": plain(neuron_db, 2 * K),
            "ef 1000": plain(neuron_db, 1000),
        }
        similarities = world.questions @ world.vectors.T
        for kind, share in [*(("score", share) for share in SHARES), ("far", 1 / LAYERS)]:
            questions = questions_of(world, similarities, share, kind)
            passing = int(np.mean([question.passing for question in questions]))
            for name, way in ways.items():
                m = measure(way, questions)
                shown = f"1/{round(1 / share):,}" if kind == "score" else f"a far layer, 1/{LAYERS}"
                lines.append(
                    f"| {shown} | {passing:,} | {name} | {m.asked} | {m.recall:.4f} | {m.short:.0%} "
                    f"| {m.median_ms:.1f} | {m.p95_ms:.1f} |"
                )
                say(lines[-1])
    return "\n".join([*lines, ""])


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=int, default=100_000)
    parser.add_argument("--questions", type=int, default=50)
    parser.add_argument("--folder", type=Path, help="keep the database here and use it again; default: a temporary one")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="atlas-search-"))
    told = run(options.labels, folder, n_questions=options.questions)
    if options.folder is None:
        shutil.rmtree(folder, ignore_errors=True)
    old = RESULTS.read_text() if RESULTS.exists() else HEAD
    title = told.splitlines()[0]
    kept = [part for part in old.split("\n## ") if not f"## {part}".startswith(title + "\n")]
    RESULTS.write_text("\n## ".join(kept).rstrip() + "\n\n" + told)


if __name__ == "__main__":
    main()
