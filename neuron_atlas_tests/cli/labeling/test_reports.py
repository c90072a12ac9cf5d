"""What the labeling command prints without labeling: the request byte for byte, costs before the first call, prompt injections."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from neuron_atlas.cli.labeling import reports
from neuron_atlas.cli.labeling.label import _plan, label
from neuron_atlas.cli.labeling.label_data import LabelData
from neuron_atlas.core.labeling.labelers.language_model import label_request
from neuron_atlas.defs.resources.labeler import LabelerResource
from neuron_atlas.defs.resources.language_model import LanguageModelResource
from neuron_atlas.errors import BadInput, UnknownName
from neuron_atlas.settings import Settings
from neuron_atlas_tests.cli.labeling.test_interactive import data, settings

__all__ = ["data", "settings"]  # fixtures


def paid(data: LabelData, settings: Settings, **more: object) -> LabelData:
    """The data with a language model at a server that is never asked."""
    given = {"price_input_usd": 1.0, "price_output_usd": 2.0, **more}
    model = LanguageModelResource(name="tiny", base_url="http://127.0.0.1:9/v1", ledger=str(settings.ledger), **given)
    labeler = LabelerResource(kind="openai", language_model=model)
    return replace(data, resources=replace(data.resources, language_model=model, labeler=labeler))


def test_show_prints_exactly_what_would_be_sent(data: LabelData, capsys: pytest.CaptureFixture[str]) -> None:
    (one,) = data.of_neuron(reports.NeuronId(1, 5), "output")
    reports.show(data, "L1/N5", "output", as_json=True)
    (shown,) = json.loads(capsys.readouterr().out)
    assert shown["messages"] == [{"role": m.role, "content": m.content} for m in label_request(one.evidence).messages]
    reports.show(data, "L1/N5", "output", as_json=False)
    assert all(message.content in capsys.readouterr().out for message in label_request(one.evidence).messages[:1])
    with pytest.raises(UnknownName, match="L1/N77"):
        reports.show(data, "L1/N77", "output", as_json=True)


def test_a_dry_run_counts_requests_and_money_and_asks_nobody(
    data: LabelData, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """20 neurons a layer; an answer is taken to have 700 tokens at 2 USD per million before any was seen."""
    reports.dry_run(paid(data, settings), "output", [0, 1], as_json=True)
    (row,) = json.loads(capsys.readouterr().out)["passes"]
    assert (row["requests"], row["remembered"], row["completion_tokens"]) == (40, 0, 40 * 700)
    assert row["usd"] == pytest.approx((row["prompt_tokens"] * 1.0 + 40 * 700 * 2.0) / 1e6)
    assert row["usd"] < row["most_usd"]
    with pytest.raises(BadInput, match="costs nothing"):
        reports.dry_run(data, "output", [0], as_json=True)


def test_a_budget_needs_prices_and_is_shared_by_the_layers_to_come(data: LabelData, settings: Settings) -> None:
    without = paid(data, settings, price_input_usd=None, budget_usd=3.0).resources.labeler
    with pytest.raises(BadInput, match="NEURON_ATLAS_PRICE_INPUT_USD"):
        without.for_layer("output", 1, 2)
    labeler = paid(data, settings, budget_usd=6.0).resources.labeler
    limits = [
        labeler.for_layer(side, layer, 3).model.limit_usd
        for side, layer in (("output", 2), ("output", 0), ("input", 2))
    ]
    assert limits == [1.0, 1.5, 6.0]
    planned = labeler.for_run(plan=_plan("output", [0, 2]))
    assert [planned.for_layer("output", layer, 3).model.limit_usd for layer in (2, 0)] == [3.0, 6.0]


def test_the_rules_follow_no_injection(data: LabelData, capsys: pytest.CaptureFixture[str]) -> None:
    reports.prompt_injection(data, [1], as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert (found["hijacked"], found["n"] > 0) == (0, True)


@pytest.mark.parametrize("option", ["--prompt-injection", "--canaries"])
def test_the_option_has_its_earlier_name_too(
    data: LabelData, settings: Settings, option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[int]] = []
    monkeypatch.setenv("NEURON_ATLAS_HOME", str(settings.root))
    monkeypatch.setattr(LabelData, "open", lambda _settings: data)
    monkeypatch.setattr(reports, "prompt_injection", lambda _data, layers, *, as_json: asked.append(layers))
    result = CliRunner().invoke(label, [option, "--layer", "1"])
    assert (result.exit_code, asked) == (0, [[1]]), result.output
    assert "--canaries" not in CliRunner().invoke(label, ["--help"]).output


def test_coverage_says_what_was_not_answered(
    settings: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, data: LabelData
) -> None:
    """Scripts read the key `dead`; people read `unanswered`."""
    monkeypatch.setattr("neuron_atlas.definitions.stored_tables", lambda *_names, settings: data.stored)
    reports.report(settings, as_json=True)
    assert json.loads(capsys.readouterr().out)["coverage"][0]["dead"] == 0
    reports.report(settings, as_json=False)
    assert "unanswered" in capsys.readouterr().out


def test_the_plan_follows_the_passes() -> None:
    assert _plan(None, [0, 1]) == ["output L01", "output L00", "input L00", "input L01"]
    assert _plan("input", [3]) == ["input L03"]


def test_the_help_has_examples() -> None:
    assert "neuron-atlas label --show" in (label.epilog or "")
