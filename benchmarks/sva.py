"""How few neurons carry subject-verb agreement, on the pairs of the published benchmark.

    python benchmarks/sva.py --data FOLDER --model ID           any model whose tokenizer knows the words
    python benchmarks/sva.py --data FOLDER                      the demo model, which reads texts in lower case
    python benchmarks/sva.py --data FOLDER --lower-case --pairs 40 --model FOLDER

FOLDER holds TEMPLATE_train.jsonl and TEMPLATE_test.jsonl of Marks et al. 2024 (arXiv 2403.19647). Circuits of every size are
chosen on pairs of the train files and tested on pairs of the test files, for each template alone and for all of them at once;
what faithfulness and completeness are stands in neuron_atlas/core/attribution/faithfulness/circuits.py. How many pairs the model
can read is part of the result, which goes to benchmarks/results/sva.md.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import polars as pl
import torch

from benchmarks.agreement_pairs import PARTS, list_templates, read_agreement_pairs, readable_pairs
from neuron_atlas import demo
from neuron_atlas.adapters.subject_model.huggingface import HuggingFaceModel
from neuron_atlas.adapters.subject_model.load import load_model
from neuron_atlas.core.attribution.faithfulness.evaluate import EvaluationBudget, evaluate
from neuron_atlas.core.records import Prompt, PromptSet

RESULTS = Path(__file__).parent / "results" / "sva.md"
METHODS = ("relp/1", "gradient/1", "random")
SIZES = (8, 16, 32, 48, 64, 96, 128, 192, 256, 384, 512)
FAITHFUL, COMPLETE = 0.95, 0.05
"""A circuit is small enough to be named when it is at least so faithful, or leaves at most so much."""


def spread(prompts: Sequence[Prompt], count: int) -> list[Prompt]:
    """At most `count` prompts at even distances."""
    count = min(count, len(prompts))
    return [prompts[index * len(prompts) // count] for index in range(count)]


def dealt(train: Sequence[Prompt], test: Sequence[Prompt], count: int) -> list[Prompt]:
    """Train and test prompts in turn, as `evaluate` deals them to its halves; equally many of both, at most `count`."""
    count = min(count, len(train), len(test))
    return list(chain.from_iterable(zip(spread(train, count), spread(test, count), strict=True)))


def read(model: HuggingFaceModel, folder: Path, *, pairs: int, lower_case: bool) -> tuple[list[PromptSet], list[str]]:
    """Usable pairs of every template, and a line about each."""
    sets: list[PromptSet] = []
    lines: list[str] = []
    for template in list_templates(folder):
        found = [
            readable_pairs(model, read_agreement_pairs(folder, template, part, lower_case=lower_case)) for part in PARTS
        ]
        chosen = dealt(found[0].prompts, found[1].prompts, pairs)
        skipped = Counter[str]()
        for part in found:
            skipped.update(part.skipped)
        readable = sum(len(part.prompts) for part in found)
        why = ", ".join(f"{count:,} {reason}" for reason, count in skipped.items()) or "none"
        lines.append(f"| {template} | {readable + skipped.total():,} | {readable:,} | {why} | {len(chosen)} |")
        if chosen:
            sets.append(PromptSet(template, "domain", tuple(chosen)))
    return sets, lines


def smallest(rows: pl.DataFrame, protocol: str) -> str:
    """The smallest RelP circuit that is faithful, or complete, enough."""
    met = pl.col("share") >= FAITHFUL if protocol == "circuit" else pl.col("share") <= COMPLETE
    size = rows.filter(pl.col("protocol") == protocol, pl.col("method") == METHODS[0]).filter(met)["n"].min()
    return f"> {SIZES[-1]}" if size is None else str(size)


def curve(rows: pl.DataFrame) -> str:
    """Faithfulness and completeness by size: one column for each method."""
    found = {(r["protocol"], r["n"], r["method"]): r["share"] for r in rows.iter_rows(named=True)}
    head = [f"faithfulness, {m}" for m in METHODS] + [f"completeness, {m}" for m in METHODS]
    lines = [f"| neurons | {' | '.join(head)} |", "|---" * (1 + len(head)) + "|"]
    for n in SIZES:
        cells = [f"{found[protocol, n, method]:.2f}" for protocol in ("circuit", "complement") for method in METHODS]
        lines.append(f"| {n} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Read, measure, write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the pairs")
    parser.add_argument("--model", default=None, help="Hugging Face id or folder; the demo model where none is given")
    parser.add_argument(
        "--lower-case", action="store_true", help="write the first letter small (the demo model: always)"
    )
    parser.add_argument("--pairs", type=int, default=60, help="pairs of each template and file")
    given = parser.parse_args()
    torch.set_num_threads(1)
    started = time.perf_counter()
    model = load_model(given.model or str(demo.MODEL_DIR), device=None)
    lower_case = given.lower_case or given.model is None
    sets, lines = read(model, given.data, pairs=given.pairs, lower_case=lower_case)
    if not sets:
        print("\n".join(lines), file=sys.stderr)
        raise SystemExit(
            f"{model.spec.model_id} can read none of the pairs; expected a tokenizer that knows their words"
        )
    if len(sets) > 1:
        sets.append(PromptSet("all", "domain", tuple(chain.from_iterable(each.prompts for each in sets))))
    sizes = tuple(n for n in SIZES if n <= model.spec.n_layers * model.spec.n_neurons)
    rows: dict[str, pl.DataFrame] = {}
    for each in sets:
        budget = EvaluationBudget(
            prompts=len(each.prompts), singles=1, subsets=1, subset_sizes=(2,), sources=1, kept=(1,), circuits=sizes,
            random_circuits=3,
        )  # fmt: skip
        rows[each.name] = evaluate(model, each, rules=("relp", "gradient"), edge_rules=(), budget=budget)
        print(f"{each.name}: {time.perf_counter() - started:.0f} s", file=sys.stderr)
    neurons = model.spec.n_layers * model.spec.n_neurons
    sections = [
        "# Subject-verb agreement on the published pairs: circuits by size",
        f"    python benchmarks/sva.py --data FOLDER --pairs {given.pairs}"
        + (f" --model {model.spec.model_id}" if given.model else "")
        + (" --lower-case" if given.lower_case else ""),
        f"Model {model.spec.model_id} ({model.spec.revision[:12]}), {neurons:,} neurons; {time.perf_counter() - started:.0f} s on "
        f"one thread.{' Texts in lower case.' if lower_case else ''} Circuits are chosen on pairs of the train files and tested "
        "on as many of the test files.",
        "| template | distinct pairs | readable | skipped | used |\n|---|---|---|---|---|\n" + "\n".join(lines),
        f"Neurons (RelP) for faithfulness at least {FAITHFUL} and for completeness at most {COMPLETE}:",
        "| template | faithful | complete |\n|---|---|---|\n"
        + "\n".join(f"| {name} | {smallest(r, 'circuit')} | {smallest(r, 'complement')} |" for name, r in rows.items()),
        *chain.from_iterable((f"## {name}", curve(found)) for name, found in rows.items()),
    ]
    RESULTS.write_text("\n\n".join(sections) + "\n", encoding="utf-8")
    print(RESULTS.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
