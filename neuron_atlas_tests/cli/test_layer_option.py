"""`--layer`: the same option in every command that takes layers, and the spellings of earlier versions."""

from __future__ import annotations

from importlib import import_module

import click
import pytest
from click.testing import CliRunner

from neuron_atlas import cli
from neuron_atlas.cli.layer_option import layer_option, old_layers, with_old_options
from neuron_atlas.cli.materialize import chosen_partitions
from neuron_atlas.core.layer_ranges import LAYER_FORMS, LayerRanges
from neuron_atlas.errors import BadInput, UserError

WITH_LAYERS = ("materialize", "search", "query", "aggregate", "label")


@click.command()
@layer_option
def show(layers: LayerRanges | None) -> None:
    click.echo(str(layers))


def commands() -> dict[str, click.Command]:
    context = click.Context(cli.main)
    found = {name: cli.main.get_command(context, name) for name in cli.main.list_commands(context)}
    return {name: command for name, command in found.items() if command is not None}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], "None"),
        (["--layer", "5"], "5"),
        (["--layer", "L2..L5"], "2..5"),
        (["--layer", "2,4..6"], "2,4..6"),
        (["--layer", "2", "--layer", "4.."], "2,4.."),
    ],
)
def test_the_option_reads_every_form_and_may_be_repeated(given: list[str], expected: str) -> None:
    assert CliRunner().invoke(show, given, catch_exceptions=False).output.strip() == expected


def test_every_command_names_and_explains_layers_alike() -> None:
    for name, command in commands().items():
        options = {option: p for p in command.params if isinstance(p, click.Option) for option in p.opts}
        assert ("--layer" in options) == (name in WITH_LAYERS), name
        if name in WITH_LAYERS:
            assert options["--layer"].help == f"Only these layers: {LAYER_FORMS}."
        shown = [option for option, p in options.items() if "layer" in option and not p.hidden]
        assert shown in ([], ["--layer"]), name


@pytest.mark.parametrize("command", WITH_LAYERS)
@pytest.mark.parametrize("layers", ["a..b", "5..3", "2-5"])
def test_a_mistake_gets_one_line_in_every_command(command: str, layers: str) -> None:
    words = ["x"] if command == "query" else []
    done = CliRunner().invoke(cli.main, [command, *words, "--layer", layers])
    assert done.exit_code == 2, done.output
    assert len(done.output.strip().splitlines()) == 1
    assert layers in done.output
    assert "expected" in done.output


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((None, None, None), [0, 1, 2, 3]),
        (("2", None, None), [2]),
        (("1-2", None, None), [1, 2]),
        (("L1-L2", None, None), [1, 2]),
        ((None, 2, None), [2, 3]),
        ((None, None, 1), [0, 1]),
        ((None, 1, 2), [1, 2]),
    ],
)
def test_the_options_of_earlier_versions_are_read(
    given: tuple[str | None, int | None, int | None], expected: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    text, start, end = given
    layers = with_old_options(None, text=text, start=start, end=end)
    assert (list(range(4)) if layers is None else layers.of_model(4)) == expected
    assert (f"--layer {layers}" in capsys.readouterr().err) == (layers is not None)


@pytest.mark.parametrize(
    ("text", "start", "end"), [("2-7", None, None), ("x", None, None), (None, 3, 1), (None, -1, 2), (None, 2, 7)]
)
def test_layers_that_the_model_lacks_are_refused(text: str | None, start: int | None, end: int | None) -> None:
    def chosen() -> list[int]:
        layers = with_old_options(None, text=text, start=start, end=end)
        return [] if layers is None else layers.of_model(4)

    with pytest.raises(UserError, match="expected"):
        chosen()


def test_old_and_new_options_add_up() -> None:
    assert str(with_old_options(LayerRanges.parse("0"), text="2-3", start=None, end=None)) == "0,2..3"
    assert str(with_old_options(LayerRanges.parse("0"), text=None, start=None, end=None)) == "0"
    assert old_layers("L03") == LayerRanges.parse("3")


def test_layers_become_partitions() -> None:
    assert chosen_partitions(None, None) is None
    assert chosen_partitions("geography", None) == "geography"
    assert chosen_partitions(None, LayerRanges.parse("2..3,5")) == ["L02", "L03", "L05"]
    with pytest.raises(BadInput, match="give one of them"):
        chosen_partitions("L03", LayerRanges.parse("3"))
    with pytest.raises(BadInput, match=r"layers 0\.\.5"):
        chosen_partitions(None, LayerRanges.parse("5..9"))


def test_label_still_takes_its_old_options_unseen() -> None:
    label = import_module("neuron_atlas.cli.labeling.label").label
    old = {"--layers", "--start-layer", "--end-layer"}
    assert {option for p in label.params for option in p.opts if option in old and p.hidden} == old
