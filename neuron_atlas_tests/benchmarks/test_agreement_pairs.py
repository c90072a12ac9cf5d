"""Agreement pairs from files: what becomes of a line, and which pairs a tokenizer can read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.agreement_pairs import list_templates, read_agreement_pairs, readable_pairs
from neuron_atlas.core.records import Prompt
from neuron_atlas.errors import BadInput

UNCLE = ("The uncle", "The uncles", " is", " are", "singular")
BAKERS = ("The bakers", "The baker", " have", " has", "plural")


def write(file: Path, *pairs: tuple[str, str, str, str, str]) -> None:
    names = ("clean_prefix", "patch_prefix", "clean_answer", "patch_answer", "case")
    file.write_text("".join(json.dumps(dict(zip(names, pair, strict=True))) + "\n" for pair in pairs))


class Words:
    """A word is a token; ` splits` is two of them, ` have` none."""

    unknown_id = 0
    known = ("The", "uncle", "uncles", "baker", "bakers", "is", "are", "has")

    def encode(self, prompt: Prompt) -> list[int]:
        return [1 + self.known.index(word) if word in self.known else 0 for word in prompt.text.split()]

    def token_id(self, text: str) -> tuple[int, bool]:
        if text == " have":
            raise BadInput("no such word")
        return 1, text != " splits"


def test_a_line_is_a_raw_prompt_with_contrast_and_partner_and_doubles_are_read_once(tmp_path: Path) -> None:
    write(tmp_path / "simple_train.jsonl", UNCLE, BAKERS, UNCLE)
    write(tmp_path / "simple_test.jsonl", BAKERS)
    write(tmp_path / "rc_test.jsonl", BAKERS)
    assert list_templates(tmp_path) == ["simple"]
    tags = {"task": "simple", "case": "singular", "partner": "The uncles"}
    first, second = read_agreement_pairs(tmp_path, "simple", "train")
    assert first == Prompt("The uncle", contrast=(" is", " are"), raw=True, tags=tags)
    assert second.text == "The bakers"


def test_lower_case_is_for_the_first_letter_of_both(tmp_path: Path) -> None:
    write(tmp_path / "simple_test.jsonl", UNCLE)
    (prompt,) = read_agreement_pairs(tmp_path, "simple", "test", lower_case=True)
    assert (prompt.text, prompt.tags["partner"], prompt.contrast) == ("the uncle", "the uncles", (" is", " are"))


def test_pairs_that_a_tokenizer_cannot_read_are_counted_by_reason(tmp_path: Path) -> None:
    unknown = ("The cook", "The cooks", " is", " are", "singular")
    longer = ("The baker", "The baker is", " is", " are", "singular")
    split = ("The uncle", "The uncles", " is", " splits", "singular")
    write(tmp_path / "simple_test.jsonl", UNCLE, BAKERS, unknown, longer, split)
    found = readable_pairs(Words(), read_agreement_pairs(tmp_path, "simple", "test"))
    assert [prompt.text for prompt in found.prompts] == ["The uncle"]
    assert found.skipped == {
        "unknown verb": 1,
        "unknown word": 1,
        "prefixes of different length": 1,
        "verb of several tokens": 1,
    }


def test_what_is_no_such_file_is_refused_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"expected files TEMPLATE_train\.jsonl"):
        list_templates(tmp_path)
    with pytest.raises(BadInput, match="cannot read"):
        read_agreement_pairs(tmp_path, "simple", "test")
    (tmp_path / "simple_test.jsonl").write_text('\n{"clean_prefix": "The uncle"}\n')
    with pytest.raises(BadInput, match="line 2: patch_prefix: Field required"):
        read_agreement_pairs(tmp_path, "simple", "test")
