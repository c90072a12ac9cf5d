"""Do attributions predict interventions? Every rule set against the demo model itself, on its three kinds of tasks.

    python benchmarks/faithfulness.py                  24 pairs per task, circuits on 120 pairs (a few minutes on one core)
    python benchmarks/faithfulness.py --pairs 40 --model FOLDER

Tasks are drawn from the demo's small world: agreement (four templates), facts (geography and medicine) and addition. Circuits
are chosen on one half of the pairs and tested on the other. What each protocol does stands in
neuron_atlas/core/attribution/faithfulness/__init__.py. Results go to benchmarks/results/faithfulness.md.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl
import torch

import neuron_atlas
from neuron_atlas.adapters.subject_model.huggingface import HuggingFaceModel
from neuron_atlas.adapters.subject_model.load import load_model
from neuron_atlas.core.attribution.faithfulness.cases import prepare
from neuron_atlas.core.attribution.faithfulness.evaluate import EvaluationBudget, evaluate
from neuron_atlas.core.records import Prompt, PromptSet
from neuron_atlas.demo import world
from neuron_atlas.demo.world import Example

RESULTS = Path(__file__).parent / "results" / "faithfulness.md"
DEMO = Path(neuron_atlas.__file__).parent / "demo" / "small-world"
TASKS = {"agreement": ("grammar",), "facts": ("geography", "medicine"), "addition": ("arithmetic",)}
TEMPLATES = ("simple", "nounpp", "rc", "within_rc")
METHODS = ["relp/1", "gate-frozen/1", "half+qk/1", "gradient/1"]
SUBSETS = (4, 16, 32, 64)
KEPT = (10, 30, 100)
CIRCUITS = (16, 32, 64, 96, 128, 256, 512)


def spread(items: Sequence[Example], count: int) -> list[Example]:
    """`count` items at even distances."""
    return [items[index * len(items) // count] for index in range(count)]


def pairs_of(task: str, count: int) -> PromptSet:
    """`count` distinct pairs of a task, spread evenly over its domains and their questions."""
    domains = TASKS[task]
    prompts: dict[str, Prompt] = {}
    for domain in domains:
        pool = list({example.prompt: example for example in world.examples(domain) if example.partner}.values())
        for example in spread(pool, min(len(pool), count // len(domains))):
            tags = {"task": example.task, "partner": example.partner}
            prompts[example.prompt] = Prompt(example.prompt, contrast=(example.answer, example.contrast), tags=tags)
    return PromptSet(task, "domain", tuple(prompts.values()))


def shown(row: dict[str, float] | None, column: str) -> str:
    """A value with its interval, or a dash."""
    if row is None or row[column] is None:
        return "–"
    low, high = row[f"{column}_low"], row[f"{column}_high"]
    return f"{row[column]:.2f}" if low is None else f"{row[column]:.2f} ({low:.2f} to {high:.2f})"


def table(rows: pl.DataFrame, task: str, column: str, lines: Sequence[tuple[str, int]], methods: Sequence[str]) -> str:
    """One line for each (protocol, n), one column for each method."""
    found = {(r["protocol"], r["n"], r["method"]): r for r in rows.filter(prompt_set=task).iter_rows(named=True)}
    head = f"| {task} | " + " | ".join(methods) + " |\n|---|" + "---|" * len(methods)
    body = [
        f"| {protocol}{f', {n}' if n else ''} | "
        + " | ".join(shown(found.get((protocol, n, method)), column) for method in methods)
        + " |"
        for protocol, n in lines
    ]
    return "\n".join([head, *body])


def pearson_of(rows: pl.DataFrame, task: str, protocol: str, n: int, method: str) -> float:
    """One correlation."""
    return rows.row(
        by_predicate=(pl.col("prompt_set") == task)
        & (pl.col("protocol") == protocol)
        & (pl.col("n") == n)
        & (pl.col("method") == method),
        named=True,
    )["pearson"]


def bars(rows: pl.DataFrame) -> str:
    """Which bars are met, line by line."""
    lines: list[str] = []
    for task in TASKS:
        for name, protocol, n in (("A", "patch_output", 0), *(("S", "ablate_subset", size) for size in SUBSETS)):
            relp, gradient = (pearson_of(rows, task, protocol, n, method) for method in ("relp/1", "gradient/1"))
            label = f"{name}{f', {n} nodes' if n else ''}: RelP above plain gradient"
            verdict = "met" if relp > gradient else "**not met**"
            lines.append(f"| {task} | {label} | {relp:.2f} against {gradient:.2f} | {verdict} |")
        if task != "addition":
            relp = pearson_of(rows, task, "patch_output", 0, "relp/1")
            verdict = "met" if relp >= 0.9 else "**not met**"
            lines.append(f"| {task} | A: r of RelP at least 0.9 | {relp:.2f} | {verdict} |")
    return "\n".join(["| task | bar | measured | |", "|---|---|---|---|", *lines])


def by_template(rows: pl.DataFrame) -> str:
    """Protocol A on each agreement template alone."""
    lines = ["| patch_output, agreement by template | " + " | ".join(METHODS) + " |", "|---|" + "---|" * len(METHODS)]
    for (name,), part in rows.partition_by("prompt_set", as_dict=True, maintain_order=True).items():
        found = {r["method"]: r for r in part.filter(protocol="patch_output").iter_rows(named=True)}
        lines.append(f"| {name} | " + " | ".join(shown(found[method], "pearson") for method in METHODS) + " |")
    return "\n".join(lines)


def attention_switches(model: HuggingFaceModel, pairs: PromptSet) -> str:
    """How much the attention from the last token to the word that differs changes within a pair, by template."""
    rows: list[tuple[str, float]] = []
    for case in prepare(model, pairs.prompts, most=len(pairs.prompts)):
        if case.corrupt is None:
            continue
        both = zip(case.clean.token_ids, case.corrupt.token_ids, strict=True)
        where = next(index for index, (one, other) in enumerate(both) if one != other)
        if where == len(case.clean.token_ids) - 1:
            continue  # the word itself is the last one: nothing has to be carried
        layers = zip(case.clean.recording.layers, case.corrupt.recording.layers, strict=True)
        change = max(float((a.pattern[:, -1, where] - b.pattern[:, -1, where]).abs().max()) for a, b in layers)
        rows.append((case.family[0], change))
    means = pl.DataFrame(rows, schema=["template", "change"], orient="row").group_by("template").mean().sort("template")
    return ", ".join(f"{name} {change:.2f}" for name, change in means.iter_rows())


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=24, help="pairs per task")
    parser.add_argument("--circuit-pairs", type=int, default=120, help="pairs for circuits, half of them for training")
    parser.add_argument("--model", type=Path, default=DEMO)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    model = load_model(str(chosen.model), device="cpu")
    started = time.perf_counter()
    budget = EvaluationBudget(
        prompts=chosen.pairs, singles=24, subsets=24, subset_sizes=SUBSETS, sources=16, kept=KEPT, circuits=(32,)
    )
    rows = pl.concat([evaluate(model, pairs_of(task, chosen.pairs), budget=budget) for task in TASKS])
    few = replace(budget, singles=1, subsets=1, sources=1, kept=(1,), circuits=CIRCUITS, random_circuits=5)
    few = replace(few, prompts=chosen.circuit_pairs)
    wide = [pairs_of(task, chosen.circuit_pairs) for task in TASKS]
    curves = pl.concat([evaluate(model, pairs, edge_rules=(), budget=few) for pairs in wide])
    parts = pl.concat([evaluate(model, pairs, edge_rules=(), budget=few) for pairs in templates()])
    switches = attention_switches(model, wide[0])
    write(model.spec.revision, chosen, rows, curves, parts, switches, time.perf_counter() - started)


def templates() -> list[PromptSet]:
    """Every question of each agreement template."""
    wide = pairs_of("agreement", len(world.examples("grammar")))
    return [
        PromptSet(name, "domain", tuple(prompt for prompt in wide.prompts if prompt.tags["task"] == name))
        for name in TEMPLATES
    ]


def write(
    revision: str,
    chosen: argparse.Namespace,
    rows: pl.DataFrame,
    curves: pl.DataFrame,
    parts: pl.DataFrame,
    switches: str,
    seconds: float,
) -> None:
    """Write the tables to RESULTS."""
    nodes = [("patch_output", 0), ("ablate_one", 1), *(("ablate_subset", n) for n in SUBSETS)]
    with_random = [*METHODS, "random"]
    kept, circuits = [("keep_top", n) for n in KEPT], [("circuit", n) for n in CIRCUITS]
    without = [("complement", n) for n in CIRCUITS]
    edges = [("edge", 0), ("direct", 0)]
    sections = [
        "# Faithfulness: attributions against interventions",
        f"Command: `python benchmarks/faithfulness.py --pairs {chosen.pairs} --circuit-pairs {chosen.circuit_pairs}`\n"
        f"(Python {platform.python_version()}, torch {torch.__version__}, one thread of a shared {platform.machine()} "
        f"machine, {seconds:.0f} s; demo model {revision[:12]}.)",
        "Each number is a mean over prompts with its 95 % interval from resampling prompts. What the protocols do and how to read "
        "them: docs/faithfulness.md. Correlations are taken within each prompt.",
        "## Bars",
        bars(rows),
        "## Correlation of predicted and measured effects (Pearson)",
        *(table(rows, task, "pearson", nodes, METHODS) for task in TASKS),
        "## The same for ranks (Spearman)",
        *(table(rows, task, "spearman", nodes, METHODS) for task in TASKS),
        "## Agreement by template",
        by_template(parts),
        "Change of the attention that the last token pays to the word that differs, within a pair (largest over heads and layers, "
        f"mean over pairs; 1 is all of it): {switches}.",
        "## Keeping only the top nodes (share of the goal; all other neurons at 0)",
        *(table(rows, task, "share", kept, METHODS) for task in TASKS),
        f"## Circuits: faithfulness by number of neurons ({chosen.circuit_pairs // 2} test pairs)",
        *(table(curves, task, "share", circuits, with_random) for task in TASKS),
        "## Circuits: completeness (what is left without them)",
        *(table(curves, task, "share", without, with_random) for task in TASKS),
        "## Circuits of one agreement template each (every second question for training, the others for testing)",
        *(table(parts, name, "share", circuits, with_random) for name in TEMPLATES),
        *(table(parts, name, "share", without, with_random) for name in TEMPLATES),
        "## Edges and direct effects, all other MLPs held (Pearson)",
        *(table(rows, task, "pearson", edges, METHODS[:2]) for task in TASKS),
    ]
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text("\n\n".join(sections) + "\n", encoding="utf-8")
    print(RESULTS.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
