"""Filters over a model of 458,752 neurons (32 layers of 14,336) and a text of 200 tokens: time and memory of each, and the way of
sets of objects beside it, on a size that it can still hold.

    python benchmarks/filters.py

writes benchmarks/results/filters.md. Activations, quantiles and descriptions are random and made before.
"""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from neuron_atlas.core.publication import filters as f
from neuron_atlas.core.publication.filters.neuron_facts import (
    LABEL_COLUMNS,
    MODULE_COLUMNS,
    NeuronFacts,
    no_quantiles,
)
from neuron_atlas.core.publication.filters.reading import Reading
from neuron_atlas.core.publication.filters.selection import POLARITIES

LAYERS, NEURONS, TOKENS = 32, 14336, 200
RESULT = Path(__file__).parent / "results" / "filters.md"
REPEATS = 3


def world(n_layers: int, n_neurons: int, n_tokens: int) -> tuple[NeuronFacts, Reading]:
    """Random activations; tails at ±3.0 … ±3.6; one description per neuron and polarity."""
    random = np.random.default_rng(0)
    activations = random.standard_normal((n_layers, n_tokens, n_neurons), dtype=np.float32)
    quantiles = no_quantiles(n_layers, n_neurons)
    for place in range(7):
        quantiles[place], quantiles[-1 - place] = -3.6 + 0.1 * place, 3.6 - 0.1 * place
    size = n_layers * n_neurons * 2
    layer, neuron, polarity = np.unravel_index(np.arange(size), (n_layers, n_neurons, 2))
    words = np.array(["capital", "verb", "number", "state", "enzyme", "city", "plural", "French"])
    drawn = words[random.integers(0, len(words), (size, 3))]
    descriptions = pl.DataFrame(
        {
            "layer": layer, "neuron": neuron, "polarity": np.where(polarity == 0, 1, -1), "side": "output", "labeler": "rules",
            "version": "1", "label": pl.Series([f"promotes {a} words: {b}, {c}" for a, b, c in drawn]), "description": None,
            "tokens": None, "type": "lexical", "score": random.random(size), "interpretability": "low",
        }
    )  # fmt: skip
    descriptions = descriptions.select(pl.col(n).cast(t) for n, t in LABEL_COLUMNS.items())
    known = NeuronFacts("r", n_layers, n_neurons, descriptions, quantiles, MODULE_COLUMNS.to_frame())
    _ = known.searched  # made once for all keywords
    tokens = tuple(f" t{t}" for t in range(n_tokens))
    relevance = activations * 0.01
    reading = Reading(tuple(range(n_tokens)), tokens, np.ones(n_tokens, np.bool_), activations, lambda _: relevance)
    return known, reading


def held(wanted: f.Filter, known: NeuronFacts, reading: Reading) -> int:
    """How many items pass."""
    return f.select(wanted, known, reading).count


@dataclass(frozen=True)
class Measured:
    """CPU milliseconds, peak megabytes, and how many items passed."""

    milliseconds: float
    megabytes: float
    count: int


def measure(work: Callable[[], int]) -> Measured:
    """Best CPU time of several runs; the peak of one more."""
    times: list[float] = []
    count = 0
    for _ in range(REPEATS):
        start = time.process_time()
        count = work()
        times.append(time.process_time() - start)
    tracemalloc.start()
    work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return Measured(1000 * min(times), peak / 1e6, count)


def objects(known: NeuronFacts, word: str, first: int, last: int) -> Measured:
    """The published way: a Python object for every neuron, polarity and token of what two filters hold, and sets of them."""

    def work() -> int:
        words = known.descriptions.filter(known.searched.str.contains(word, literal=True))
        rows = words.select("layer", "neuron", "polarity").iter_rows()
        named = {f.Item(layer=at, neuron=n, polarity=p) for at, n, p in rows}
        return len({item.model_copy(update={"position": t}) for item in named for t in range(first, last + 1)})

    return measure(work)


def main() -> None:
    """Measure and write."""
    known, reading = world(LAYERS, NEURONS, TOKENS)
    capital, verb = f.Description(keyword="capital"), f.Description(keyword="verb", score_from=0.5)
    top = f.Quantile(level=0.1, tail="top")
    cases: dict[str, f.Filter] = {
        "layer:3..12": f.Layers(first=3, last=12),
        "keyword:capital": capital,
        "regex:capital.*state": f.Description(regex="capital.*state"),
        "[keyword:verb score:0.5..]": verb,
        "at:100..120": f.Tokens(first=100, last=120),
        "top:0.1": top,
        "attribution:100": f.Attribution(top_k=100),
        "top:0.1 keyword:capital": top & capital,
        "not (top:0.1 or bottom:0.1) layer:3..12 at:100..120": ~(top | f.Quantile(level=0.1, tail="bottom"))
        & f.Layers(first=3, last=12)
        & f.Tokens(first=100, last=120),
    }
    lines = [
        "# Filters", "",
        "`python benchmarks/filters.py`, one thread. Times are CPU time, the best of three, counting what passed included;",
        "memory is the largest that a filter held beside what is known (tracemalloc).", "",
        f"{LAYERS} layers of {NEURONS:,} neurons, {TOKENS} tokens, {known.descriptions.height:,} descriptions; all items: "
        f"{LAYERS * NEURONS * TOKENS * len(POLARITIES):,}.", "",
        "| filter | CPU ms | peak MB | items |", "|---|---:|---:|---:|",
    ]  # fmt: skip
    for name, wanted in cases.items():
        found = measure(partial(held, wanted, known, reading))
        lines.append(f"| `{name}` | {found.milliseconds:.1f} | {found.megabytes:.1f} | {found.count:,} |")
    small, text = world(4, 2048, 50)
    ours = measure(partial(held, capital & f.Tokens(first=10, last=19), small, text))
    theirs = objects(small, "capital", 10, 19)
    if ours.count != theirs.count:
        raise SystemExit(f"the two ways differ: {ours.count} and {theirs.count}")
    lines += [
        "", "One question (`keyword:capital at:10..19`) beside sets of Python objects, 4 layers of 2,048 neurons, 50 tokens:", "",
        "| way | CPU ms | peak MB | items |", "|---|---:|---:|---:|",
        f"| bits | {ours.milliseconds:.1f} | {ours.megabytes:.2f} | {ours.count:,} |",
        f"| objects | {theirs.milliseconds:.1f} | {theirs.megabytes:.2f} | {theirs.count:,} |",
        "", f"Bits take {theirs.milliseconds / ours.milliseconds:.0f} times less time and "
        f"{theirs.megabytes / ours.megabytes:.0f} times less memory.", "",
    ]  # fmt: skip
    RESULT.write_text("\n".join(lines))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
