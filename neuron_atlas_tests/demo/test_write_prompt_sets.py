"""The shipped prompt sets and corpus are exactly what the generator writes, and have the agreed form."""

from __future__ import annotations

from itertools import pairwise

import pytest
import yaml

from neuron_atlas.demo import CORPUS_DIR, PROMPTS_DIR, world
from neuron_atlas.demo import write_prompt_sets as prompt_sets

NAMES = (*world.DOMAINS, world.BASELINE)


@pytest.mark.parametrize("name", NAMES)
def test_shipped_file_equals_what_the_generator_writes(name: str) -> None:
    assert (PROMPTS_DIR / f"{name}.yaml").read_text(encoding="utf-8") == prompt_sets.write_prompt_set(name)


def test_shipped_corpus_equals_what_the_generator_writes() -> None:
    corpus = (CORPUS_DIR / "small_world.txt").read_text(encoding="utf-8")
    assert corpus == world.write_corpus()
    lines = corpus.splitlines()
    assert len(lines) == len(set(lines)) == 3000


def test_no_other_files_ship_as_prompt_sets() -> None:
    assert sorted(path.stem for path in PROMPTS_DIR.iterdir()) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_each_set_has_forty_to_sixty_distinct_prompts_without_trailing_space(name: str) -> None:
    content = yaml.safe_load(prompt_sets.write_prompt_set(name))
    assert content["kind"] == ("baseline" if name == "filler" else "domain")
    prompts = [entry["prompt"] for entry in content["prompts"]]
    assert 40 <= len(prompts) == len(set(prompts)) <= 60
    assert all(prompt == prompt.strip() for prompt in prompts)


@pytest.mark.parametrize("name", world.DOMAINS)
def test_domain_prompts_carry_the_answer_and_a_contrast_and_split(name: str) -> None:
    for entry in yaml.safe_load(prompt_sets.write_prompt_set(name))["prompts"]:
        assert entry["contrast"][0] == entry["target_tokens"][0]
        assert entry["contrast"][0] != entry["contrast"][1]
        assert entry["tags"]["split"] in ("trained", "held-out")
        assert all(isinstance(value, str) for value in entry["tags"].values())


def test_baseline_prompts_have_no_answer() -> None:
    assert all(set(entry) == {"prompt"} for entry in yaml.safe_load(prompt_sets.write_prompt_set("filler"))["prompts"])


def test_files_are_written_where_asked(tmp_path) -> None:
    prompt_sets.main(["--prompts", str(tmp_path / "p"), "--corpus", str(tmp_path / "c")])
    assert sorted(path.name for path in (tmp_path / "p").iterdir()) == sorted(f"{name}.yaml" for name in NAMES)
    assert (tmp_path / "c" / "small_world.txt").read_bytes() == (CORPUS_DIR / "small_world.txt").read_bytes()


def test_spread_takes_the_first_and_keeps_the_distance() -> None:
    examples = world.examples("medicine")
    places = [examples.index(example) for example in prompt_sets._spread(examples, 9)]
    assert places[0] == 0
    assert {b - a for a, b in pairwise(places)} == {len(examples) // 9}
