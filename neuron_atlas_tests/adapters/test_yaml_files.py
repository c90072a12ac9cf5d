"""Files written by hand: errors say the file, the place in it, and what is known there."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from neuron_atlas.adapters.yaml_files import parse_yaml, read_text, validate_content
from neuron_atlas.errors import BadInput


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Leaf(_Strict):
    name: str = ""


class _Branch(_Strict):
    leaves: dict[str, _Leaf] = {}  # pydantic copies it


class _Tree(_Strict):
    branches: tuple[_Branch, ...] = ()


PATH = Path("tree.yaml")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ({"twigs": 1}, r"^tree\.yaml: twigs: .*known are branches \(1 problem"),
        ({"branches": [{"twig": 1}]}, r"branches\.0\.twig: .*known are leaves"),
        ({"branches": [{"leaves": {"a": {"colour": 1}}}]}, r"branches\.0\.leaves\.a\.colour: .*known are name"),
        ([], r"tree\.yaml: the file: .*dictionary"),
    ],
)
def test_what_does_not_fit_is_named_with_its_place_and_the_known_keys(content: object, why: str) -> None:
    with pytest.raises(BadInput, match=why):
        validate_content(PATH, content, _Tree)


def test_what_cannot_be_read_is_named_with_the_reason(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    with pytest.raises(BadInput, match=r"cannot read .*a\.yaml: No such file"):
        read_text(file, max_bytes=5)
    file.write_bytes(b"\xff")
    with pytest.raises(BadInput, match="not UTF-8"):
        read_text(file, max_bytes=5)
    file.write_text("123456")
    with pytest.raises(BadInput, match=r"has 6 bytes; at most 5: split it$"):
        read_text(file, max_bytes=5, advice=": split it")
    with pytest.raises(BadInput, match=r"tree\.yaml is not YAML"):
        parse_yaml(PATH, "name: [")
