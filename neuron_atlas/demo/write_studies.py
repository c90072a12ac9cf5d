"""Studies of the demo model's circuits, as files for `neuron-atlas analyze --config NAME`.

    two-hop-geography   CITY to state to capital: the module that stands for the state, the one that stands for the capital
    agreement           the verb agrees with its subject: the module that stands for the subject's number

The two-hop study asks about the one city of every state that never stands in a two-hop sentence of the training text; its
donor is the neighbouring state's. The agreement study asks about subjects with a distractor in between; its donor differs in the
subject's number alone. The files in the package equal what this module writes: python -m neuron_atlas.demo.write_studies
"""

from __future__ import annotations

from pathlib import Path

import yaml

from neuron_atlas.demo.world.example import Example
from neuron_atlas.demo.world.geography import STATES, TWO_HOP_STATE, geography_examples
from neuron_atlas.demo.world.grammar import MAIN_VERBS, grammar_examples

FOLDER = Path(__file__).parent / "studies"
PER_TEMPLATE = 15
"""Questions of either agreement template."""


def studies() -> dict[str, dict[str, object]]:
    """Every study's file content, by name."""
    two_hop = [
        one
        for one in geography_examples()
        if one.task == TWO_HOP_STATE and one.is_held_out and one.prompt.startswith("the capital of the state")
    ]
    agreement = [
        one
        for template in ("nounpp", "rc")
        for one in [e for e in grammar_examples() if e.task == template][:PER_TEMPLATE]
    ]
    return {
        "two-hop-geography": {
            "name": "two-hop-geography",
            "description": "The capital of the state containing CITY: which module stands for the state, which for the capital?",
            "analyze": {"max_depth": 1, "splits": []},
            "prompts": [_two_hop(one) for one in two_hop],
        },
        "agreement": {
            "name": "agreement",
            "description": "The verb agrees with its subject across a distractor: which module stands for the number?",
            "analyze": {"max_depth": 1, "splits": []},
            "prompts": [_agreement(one) for one in agreement],
        },
    }


def study_text(name: str) -> str:
    """A study's file, as YAML."""
    return yaml.safe_dump(studies()[name], sort_keys=False, allow_unicode=True, width=120)


def write_studies(folder: Path = FOLDER) -> None:
    """Write every study."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in studies():
        (folder / f"{name}.yaml").write_text(study_text(name), encoding="utf-8")


def _two_hop(one: Example) -> dict[str, object]:
    tags = dict(one.tags)
    return {
        "prompt": one.prompt,
        "contrast": [one.answer, one.contrast],
        "donor": one.partner,
        "concepts": {
            "state": {"tokens": [f" {tags['state']}"], "rivals": [f" {state}" for state in STATES]},
            "capital": {"tokens": [one.answer], "rivals": [f" {capital}" for capital, _ in STATES.values()]},
        },
    }


def _agreement(one: Example) -> dict[str, object]:
    singular, plural = ([f" {verb[number]}" for verb in MAIN_VERBS] for number in (0, 1))
    is_plural = one.answer in plural
    subject = one.prompt.split()[1]
    own, other = (plural, singular) if is_plural else (singular, plural)
    return {
        "prompt": one.prompt,
        "contrast": [one.answer, one.contrast],
        "donor": one.partner,
        "concepts": {
            "number at the subject": {"tokens": own, "rivals": other, "at": f" {subject}"},
            "number anywhere": {"tokens": list(own), "rivals": list(other)},
        },
    }


if __name__ == "__main__":
    write_studies()
