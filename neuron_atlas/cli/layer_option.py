"""The option `--layer` of every command that takes layers: one grammar (`core/layer_ranges.py`), one help text.

The option may be repeated; the layers of all of them are taken.
"""

from __future__ import annotations

import click

from neuron_atlas.core.layer_ranges import LAYER_FORMS, LayerRanges


class LayerRangesType(click.ParamType):
    """Layers as text. A mistake is a `BadInput`, which the command line prints in one line."""

    name = "layers"

    def convert(
        self, value: str | LayerRanges, param: click.Parameter | None, ctx: click.Context | None
    ) -> LayerRanges:
        """Called by click with the text of the option."""
        return LayerRanges.of(value)


def _union(_: click.Context, __: click.Parameter, given: tuple[LayerRanges, ...]) -> LayerRanges | None:
    return LayerRanges.union(given) if given else None


layer_option = click.option(
    "--layer",
    "layers",
    type=LayerRangesType(),
    multiple=True,
    callback=_union,
    metavar="LAYERS",
    help=f"Only these layers: {LAYER_FORMS}.",
)
"""Hands the command `layers`: a `LayerRanges`, or None when the option is not given."""


def old_layers(text: str) -> LayerRanges:
    """Layers as `label --layers` took them in earlier versions: `2-5` besides today's forms. Raises `BadInput`."""
    return LayerRanges.parse(text.replace("-", ".."))


def with_old_options(
    layers: LayerRanges | None, *, text: str | None, start: int | None, end: int | None
) -> LayerRanges | None:
    """The layers of `--layer`, joined with those of `--layers` or of `--start-layer` and `--end-layer`, which earlier versions had;
    a note on stderr says how to write these now. Raises `BadInput` for what names no layers."""
    if text is None and start is None and end is None:
        return layers
    start_text, end_text = ("" if edge is None else str(edge) for edge in (start, end))
    old = LayerRanges.parse(f"{start_text}..{end_text}") if text is None else old_layers(text)
    used = "--start-layer and --end-layer are" if text is None else "--layers is"
    click.echo(f"note: {used} now written --layer {old}", err=True)
    return old if layers is None else LayerRanges.union([layers, old])
