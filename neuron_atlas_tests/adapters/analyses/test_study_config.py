"""Studies as files: what may stand in them and what is refused, with the place named."""

from __future__ import annotations

from pathlib import Path

import pytest

from neuron_atlas.adapters.analyses.study_config import read_study_config
from neuron_atlas.core.circuits.analysis.analyze import AnalyzeOptions
from neuron_atlas.core.circuits.analysis.modules.concepts import ConceptQuery
from neuron_atlas.core.records import Prompt, TraceOptions
from neuron_atlas.errors import BadInput

FULL = """
name: two
trace: {tau: 0.01}
analyze: {view: flow, splits: [side]}
prompts:
  - just words
  - prompt: more words
    contrast: [" a", " b"]
    donor: other words
    concepts:
      one: " a"
      two: {tokens: [" a"], rivals: [" b"], at: " words"}
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "two.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_says_what_to_analyze_and_how(tmp_path) -> None:
    study = read_study_config(written(tmp_path, FULL))
    assert (study.name, study.model) == ("two", None)
    assert study.tracing == TraceOptions(tau=0.01)
    assert study.options == AnalyzeOptions(view="flow", splits=("side",))
    first, second = study.tasks
    assert (first.prompt, first.donor, first.concepts) == (Prompt("just words"), None, {})
    assert (second.prompt, second.donor) == (Prompt("more words", contrast=(" a", " b")), "other words")
    assert second.concepts == {"one": ConceptQuery((" a",)), "two": ConceptQuery((" a",), (" b",), " words")}


def test_what_is_left_out_is_as_without_a_file(tmp_path) -> None:
    study = read_study_config(written(tmp_path, "name: two\nprompts: [words]"))
    assert (study.tracing, study.options) == (TraceOptions(), AnalyzeOptions())


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("name: two\nprompts: [a]\ncolour: red", "colour.*known are name, description, model, trace, analyze, prompts"),
        ("name: two\nprompts: [a]\nanalyze: {veiw: flow}", r"analyze\.veiw.*known are view"),
        ("name: two\nprompts: [{prompt: a, doner: b}]", r"prompts\.0\.doner.*known are prompt"),
        ("name: two\nprompts: [a]\nanalyze: {view: sight}", "'roles' or 'flow'"),
        ("name: two\nprompts: [a]\ntrace: {tau: 2}", r"trace\.tau"),
        ("name: two\nprompts: []", "prompts"),
        ("name: Two Words\nprompts: [a]", "name"),
        ("name: [", "not YAML"),
        ("- a", "valid dictionary"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(tmp_path, text, why) -> None:
    with pytest.raises(BadInput, match=why):
        read_study_config(written(tmp_path, text))


def test_a_missing_file_is_named(tmp_path) -> None:
    with pytest.raises(BadInput, match=r"none\.yaml"):
        read_study_config(tmp_path / "none.yaml")
