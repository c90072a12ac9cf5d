"""`neuron-atlas neuron L4/N17`: one neuron on one screen."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

import click
import polars as pl
from rich.text import Text

from neuron_atlas.cli.open_stores import open_atlas
from neuron_atlas.cli.printing import cell, highlighted, json_option, out, print_facts, print_frame, print_json
from neuron_atlas.core.aggregation.graphs.domain_specificity import SURE_Z
from neuron_atlas.core.aggregation.readable_tokens import distinct_words

if TYPE_CHECKING:
    from neuron_atlas.adapters.atlas_duckdb import NeuronCard


@click.command(epilog="Example: neuron-atlas neuron L4/N17")
@click.argument("neuron_id", metavar="NEURON")
@click.option("--edges", type=click.IntRange(1, 500), default=8, show_default=True, help="Edges per direction.")
@click.option("--exemplars", type=click.IntRange(0, 100), default=5, show_default=True, help="Exemplars per polarity.")
@json_option
def neuron(neuron_id: str, edges: int, exemplars: int, as_json: bool) -> None:
    """Everything the atlas knows about NEURON (written L18/N6721): labels and scores, edges, tokens, exemplars."""
    with open_atlas() as opened:
        card = opened.neuron(neuron_id, limit=edges)
    if as_json:
        print_json(
            {
                f.name: str(v) if f.name == "neuron" else v
                for f in fields(card)
                if (v := getattr(card, f.name)) is not None
            }
        )
        return
    print_card(card, exemplars=exemplars)


def print_card(card: NeuronCard, *, exemplars: int) -> None:
    """One neuron for people, with so many exemplars per polarity."""
    out.print(Text(str(card.neuron), style="bold"), Text(card.label or "no label", style="bold cyan"))
    if card.description:
        out.print(Text(cell(card.description)))
    _labels(card)
    _numbers(card)
    for title, edges_of in (("Driven by", card.upstream), ("Acts on", card.downstream)):
        out.print()
        print_frame(_wiring(edges_of), title=title)
    _weights(card)
    _tokens(card)
    _exemplars(card, exemplars)


def _wiring(found: pl.DataFrame) -> pl.DataFrame:
    """Edges as read: the other end, excites or inhibits, in how many prompts and with how much flow."""
    return found.select(
        "other",
        effect=pl.when(pl.col("weight_mean") >= 0).then(pl.lit("excites")).otherwise(pl.lit("inhibits")),
        weight="weight_mean",
        same_sign=pl.col("sign_agreement"),
        prompts="n_prompts",
        flow="flow_mean",
        label="label",
    )


SHOWN_WEIGHTS = 4
"""Neurons of each direction that people are shown; `--json` has as many as edges."""


def _weights(card: NeuronCard) -> None:
    """What the weights alone say it drives, strongest first; prompts say in how many graphs it was seen to."""
    found = card.weight_edges.filter(pl.col("rank") < SHOWN_WEIGHTS)
    if found.is_empty():
        return
    out.print()
    effect = pl.when(pl.col("direction") > 0).then(pl.lit("excites")).otherwise(pl.lit("inhibits"))
    shown = found.select("other", effect=effect, strength="strength", prompts="n_prompts", label="label")
    print_frame(shown, title="Would act on, by its weights alone")


def _labels(card: NeuronCard) -> None:
    for row in card.labels.iter_rows(named=True):
        sign = "+" if row["polarity"] > 0 else "-"
        score = "not scored" if row.get("corrected") is None else f"{row['metric']} {row['corrected']:.2f} above chance"
        text = row["label"] or f"unlabeled: {row['unlabeled_reason']}"
        name = Text(f"  {row['side']:<6} {sign}  ", style="dim")
        out.print(name + Text(cell(text), style="not dim") + Text(f"  [{score}, {row['labeler']}]", style="dim"))


def _numbers(card: NeuronCard) -> None:
    facts: list[tuple[str, object]] = []
    for row in card.profiles.iter_rows(named=True):
        sign = "+" if row["polarity"] > 0 else "-"
        is_special = row["domain"] and row["domain_z"] >= SURE_Z
        domain = f", most in {row['domain']} (z {row['domain_z']:.1f})" if is_special else ""
        facts.append(
            (
                f"in graphs {sign}",
                f"{row['n_prompts']} prompts ({row['frequency']:.0%}){domain}",
            )
        )
    for row in card.der.iter_rows(named=True):
        facts.append(("direct effect", f"{row['der']:.2f} ({row['effect_type']})"))
    for row in card.activations.iter_rows(named=True):
        density = row["density_positive"] + row["density_negative"]
        spread = f"{row['minimum']:.2f} … {row['maximum']:.2f}, fires on {density:.1%} of tokens"
        facts.append((f"activation ({row['corpus']})", spread))
    for row in card.cluster.tail(1).iter_rows(named=True):
        trust = _trust(row["stability"], row["is_stable"])
        facts.append(
            ("cluster", f"{row['path']} {row['label'] or 'no label'} ({trust}), {row['flow']:.2%} of the flow")
        )
    for row in card.profile_cluster.iter_rows(named=True):
        name = f"alike {'+' if row['polarity'] > 0 else '-'}"
        sides = f"made of {cell(row['input_tokens'][:3])}; raises {cell(row['raised_tokens'][:3])}"
        facts.append((name, f"{row['size']} units {sides} ({_trust(row['stability'], row['is_stable'])})"))
    out.print()
    print_facts(facts)


def _trust(stability: float | None, is_stable: bool | None) -> str:
    """Whether a cluster comes back when the clustering is repeated."""
    return "stability unknown" if stability is None else f"{'stable' if is_stable else 'unstable'}, {stability:.2f}"


def _tokens(card: NeuronCard) -> None:
    out.print()
    rows: list[tuple[str, object]] = []
    for name, frame in (("raises", card.output_projections), ("is driven by", card.input_projections)):
        for direction, word in ((1, name), (-1, {"raises": "lowers", "is driven by": "is inhibited by"}[name])):
            tokens = distinct_words(frame.filter(pl.col("direction") == direction)["token"].to_list())[:8]
            rows.append((word, tokens))
    print_facts(rows)


def _exemplars(card: NeuronCard, count: int) -> None:
    for polarity in (1, -1):
        top = (
            card.exemplars.filter((pl.col("polarity") == polarity) & (pl.col("kind") == "top")).sort("rank").head(count)
        )
        if top.is_empty():
            continue
        out.print(Text(f"\nFires most on ({'+' if polarity > 0 else '-'})", style="bold"))
        for row in top.iter_rows(named=True):
            line = highlighted(row["tokens"], row["activations"], peak=row["peak_position"])
            out.print(Text(f"{row['peak_activation']:8.2f}  ", style="dim") + line)
