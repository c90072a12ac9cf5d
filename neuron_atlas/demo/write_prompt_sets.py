"""The shipped prompt sets and corpus, written from the small world.

    python -m neuron_atlas.demo.write_prompt_sets --prompts DIR --corpus DIR

One YAML file per domain and one for the baseline. A domain prompt carries its right answer, a contrast and, as the tag
``partner``, a prompt of the same length whose answer is the contrast's negative side: clean and corrupt for patching.
Questions that training never saw are marked ``split: held-out``; they are taken only where the skill is meant to
generalise (two-hop questions and agreement). The files in the package equal what this module writes.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import yaml

from neuron_atlas.demo import world
from neuron_atlas.demo.world import Example

_DESCRIPTIONS = {
    "geography": "Capitals, cities, languages and continents, and two-hop questions that join two of them.",
    "grammar": "Which verb agrees with the subject, across a distractor in four templates.",
    "medicine": "The enzyme a drug inhibits, the neurotransmitter of a function, the organ of a disease.",
    "arithmetic": "Addition in words with operands from one to twenty.",
    "multilingual": "Opposites, plurals and translations in English, French and Spanish.",
    "filler": "Beginnings of sentences without facts: the baseline for domain specificity.",
}

# How many prompts of each task, trained and held out.
_GEOGRAPHY_COUNTS = {
    "two-hop-state": (13, 13),
    "two-hop-country": (3, 3),
    "two-hop-language": (2, 2),
    "capital-of-state": (8, 0),
    "state-of-city": (6, 0),
    "capital-of-country": (4, 0),
    "language": (3, 0),
    "continent": (3, 0),
}
_GRAMMAR_COUNTS = {"simple": (12, 0), "nounpp": (7, 7), "rc": (7, 7), "within_rc": (7, 7)}
_MEDICINE_COUNTS = {"enzyme": (20, 0), "neurotransmitter": (16, 0), "organ": (18, 0)}
_ARITHMETIC_COUNTS = {"addition": (48, 0)}
_MULTILINGUAL_COUNTS = {"antonym": (18, 0), "plural": (15, 0), "translation": (21, 0)}

_COUNTS = {
    "geography": _GEOGRAPHY_COUNTS,
    "grammar": _GRAMMAR_COUNTS,
    "medicine": _MEDICINE_COUNTS,
    "arithmetic": _ARITHMETIC_COUNTS,
    "multilingual": _MULTILINGUAL_COUNTS,
}


def choose_examples(domain: str) -> tuple[Example, ...]:
    """The questions of a domain that ship as its prompt set: spread evenly over each task, no prompt twice."""
    chosen: dict[str, Example] = {}
    for task, counts in _COUNTS[domain].items():
        for is_held_out, count in zip((False, True), counts, strict=True):
            pool = [e for e in world.examples(domain) if (e.task, e.is_held_out) == (task, is_held_out)]
            distinct = list({e.prompt: e for e in pool}.values())
            chosen.update((e.prompt, e) for e in _spread(distinct, count))
    return tuple(chosen.values())


def write_prompt_set(name: str) -> str:
    """The YAML text of one prompt set: a domain's, or the baseline's."""
    if name == world.BASELINE:
        kind, prompts = "baseline", [{"prompt": prompt} for prompt in world.filler_prompts()]
    else:
        kind, prompts = "domain", [_entry(example) for example in choose_examples(name)]
    content = {"name": name, "kind": kind, "description": _DESCRIPTIONS[name], "prompts": prompts}
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=1000, default_flow_style=None)


def write_files(*, prompts: Path, corpus: Path) -> None:
    """Write every prompt set and the corpus to their folders, replacing what is there."""
    for folder in (prompts, corpus):
        folder.mkdir(parents=True, exist_ok=True)
    for name in (*world.DOMAINS, world.BASELINE):
        (prompts / f"{name}.yaml").write_text(write_prompt_set(name), encoding="utf-8")
    (corpus / "small_world.txt").write_text(world.write_corpus(), encoding="utf-8")


def _entry(example: Example) -> dict[str, object]:
    tags = {"task": example.task, "split": "held-out" if example.is_held_out else "trained"}
    tags |= {key: value for key, value in example.tags if value}
    return {
        "prompt": example.prompt,
        "target_tokens": [example.answer],
        "contrast": [example.answer, example.contrast],
        "tags": {**tags, "partner": example.partner},
    }


def _spread(items: Sequence[Example], count: int) -> list[Example]:
    """``count`` items at even distances, first included; raises ValueError when there are too few."""
    if count > len(items):
        raise ValueError(f"prompt set: expected at least {count} questions, got {len(items)}; lower the count.")
    return [items[index * len(items) // count] for index in range(count)]


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line and write the files."""
    parser = argparse.ArgumentParser(prog="python -m neuron_atlas.demo.write_prompt_sets", description=__doc__)
    parser.add_argument("--prompts", type=Path, required=True, help="folder for the prompt sets")
    parser.add_argument("--corpus", type=Path, required=True, help="folder for the corpus")
    options = parser.parse_args(arguments)
    write_files(prompts=options.prompts, corpus=options.corpus)


if __name__ == "__main__":
    main()
