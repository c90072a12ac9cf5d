"""`neuron-atlas graph "PROMPT"`: trace one prompt, show what produced its answer, save the graph as a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click
import polars as pl
from rich.text import Text

from neuron_atlas.adapters.graphs.graph_files import write_graph
from neuron_atlas.cli.attribution.graph_labels import labels_by_neuron
from neuron_atlas.cli.multi_word_options import MultiWordCommand
from neuron_atlas.cli.printing import cell, json_option, out, print_facts, print_frame, print_json, progress
from neuron_atlas.core.attribution.exchange.slugs import checked_slug, default_slug
from neuron_atlas.core.attribution.view.highlights import strongest_links, strongest_neurons
from neuron_atlas.core.records import AttributionGraph, Prompt, TraceOptions
from neuron_atlas.errors import BadInput
from neuron_atlas.settings import load_settings

EXAMPLES = """Examples:

\b
  neuron-atlas graph "the capital of the state containing Bend is"
  neuron-atlas graph "The enzyme inhibited by aspirin is" --target-tokens COX cyclooxygenase --slug aspirin-cox
  neuron-atlas graph "the keys on the table" --contrastive " are" " is" --html
  neuron-atlas graph "two plus two is" --top-n 50 --json | jq .neurons
  neuron-atlas graph "the capital of Oregon is" --skip-always-on 0.9 --effects total

The graph is saved as Neuronpedia's JSON: upload it there, check it with `neuron-atlas validate`, or read it back with
neuron_atlas.read_graph.
"""


@click.command(cls=MultiWordCommand, epilog=EXAMPLES)
@click.argument("prompt", required=False)
@click.option("--k", type=click.IntRange(1, 1000), help="Top logits to trace when no answers are named.")
@click.option(
    "--tau", type=click.FloatRange(0, 1, max_open=True), help="Smallest |relevance| of a node, as a share of the goal."
)
@click.option("--top-n", type=click.IntRange(1), help="Take the N most relevant neurons instead of --tau.")
@click.option(
    "--mass",
    type=click.FloatRange(0, 1, min_open=True),
    help="Take the fewest neurons with this share of the relevance.",
)
@click.option("--target-tokens", multiple=True, metavar="WORD...", help="Answers to trace: one or more words.")
@click.option("--contrastive", nargs=2, metavar="POS NEG", help="Trace logit(POS) - logit(NEG).")
@click.option("--position", type=int, default=-1, show_default=True, help="Token position whose logits are traced.")
@click.option("--answer-prefix", help="Text that the answer begins with, after the prompt.")
@click.option("--raw", is_flag=True, help="Do not wrap the prompt in the chat template.")
@click.option("--rules", help="Linearisation rules: relp, gate-frozen, half+qk, gradient.")
@click.option("--exclude", multiple=True, metavar="NEURON...", help="Neurons that are never nodes, as L18/N6721.")
@click.option(
    "--skip-always-on",
    type=click.FloatRange(0, 1, min_open=True),
    metavar="SHARE",
    help="Leave out neurons that are nodes of at least this share of the atlas's graphs.",
)
@click.option(
    "--effects",
    type=click.Choice(["direct", "total"]),
    default="direct",
    show_default=True,
    help="Links to print: up to the next MLP, or along all paths. The file holds the direct ones.",
)
@click.option("--model", help="Hugging Face id or local folder.")
@click.option("--device", help="torch device, e.g. cpu or cuda:0.")
@click.option("--dtype", help="dtype of the forward pass, e.g. float32.")
@click.option("--slug", help="Name of the graph; the file is relp-SLUG.json.  [default: from the prompt]")
@click.option("-o", "--output", type=click.Path(path_type=Path, file_okay=False), default=Path("graphs"), show_default=True,
              help="Folder for the file.")  # fmt: skip
@click.option("--html", is_flag=True, help="Also write a page that shows the graph.")
@click.option("--top", type=click.IntRange(1, 1000), default=15, show_default=True, help="Neurons and links to print.")
@json_option
def graph(
    prompt: str | None,
    k: int | None,
    tau: float | None,
    top_n: int | None,
    mass: float | None,
    target_tokens: tuple[str, ...],
    contrastive: tuple[str, str] | None,
    position: int,
    answer_prefix: str | None,
    raw: bool,
    rules: str | None,
    exclude: tuple[str, ...],
    skip_always_on: float | None,
    effects: str,
    model: str | None,
    device: str | None,
    dtype: str | None,
    slug: str | None,
    output: Path,
    html: bool,
    top: int,
    as_json: bool,
) -> None:
    """Trace PROMPT: which neurons produced the model's answer, and along which links.

    Model, device, dtype, k, tau and rules come from the settings (NEURON_ATLAS_*) unless given.
    """
    if prompt is None:
        raise click.UsageError('PROMPT is missing. Put it first: neuron-atlas graph "PROMPT" --target-tokens WORD WORD')
    if target_tokens and contrastive:
        raise click.UsageError("--target-tokens and --contrastive are two different goals; give one of them")
    settings = load_settings()
    asked = Prompt(prompt, answer_prefix, target_tokens, contrastive, position, raw)
    file = output / f"{_slug(asked, slug)}.json"
    options = TraceOptions(
        k=settings.k if k is None else k,
        tau=settings.tau if tau is None else tau,
        top_n=top_n,
        mass=mass,
        rules=rules or settings.rules,
        exclude=_excluded_neurons(
            exclude, always_on=skip_always_on, path=settings.atlas, model_id=model or settings.model
        ),
    )
    found, shown = _traced(
        asked,
        options,
        model or settings.model,
        device=device or settings.device,
        dtype=dtype or settings.dtype,
        effects=effects,
    )
    labels, without = labels_by_neuron(settings.atlas, found)
    files = [write_graph(found, path, labels=labels) for path in (file, *([file.with_suffix(".html")] if html else []))]
    neurons, links = strongest_neurons(found, top, labels=labels), strongest_links(shown, top, labels=labels)
    if as_json:
        print_json(_document(found, file.stem, files, neurons, links) | {"effects": effects})
    else:
        name = "links" if effects == "direct" else "total effects"
        _show(found, neurons, links, all_links=f"{name}, {links.height} of {shown.edges.height}")
        print_facts([("saved", str(path)) for path in files])
    if without:
        progress.print(Text(without, style="dim"))


def _slug(prompt: Prompt, given: str | None) -> str:
    """`relp-<given>`, or a name from the prompt. Raises `BadInput` for one that is no file name."""
    if given is None:
        return default_slug(prompt)
    return checked_slug(given if given.startswith("relp-") else f"relp-{given}")


def _traced(
    prompt: Prompt, options: TraceOptions, model_id: str, *, device: str | None, dtype: str | None, effects: str
) -> tuple[AttributionGraph, AttributionGraph]:
    """Load the model and trace, progress on stderr: the graph, and the graph with the links to print."""
    with progress.status(f"loading {model_id} …"):
        from neuron_atlas.adapters.subject_model.load import load_model
        from neuron_atlas.core.attribution.total_links import total_links
        from neuron_atlas.core.attribution.trace import trace_prompt

        model = load_model(model_id, device=device, dtype=dtype)
    with progress.status("tracing …"):
        found = trace_prompt(model, prompt, options=options)
        return found, found if effects == "direct" else replace(found, edges=total_links(model, found))


def _document(
    found: AttributionGraph, slug: str, files: list[Path], neurons: pl.DataFrame, links: pl.DataFrame
) -> dict[str, object]:
    summary = found.summary
    return {
        "slug": slug,
        "files": [str(path) for path in files],
        "prompt": found.prompt.text,
        "prompt_id": found.prompt.prompt_id,
        "model": summary.model_id,
        "model_revision": summary.model_revision,
        "rules": summary.rules,
        "goal": summary.goal,
        "goal_value": summary.goal_value,
        "position": summary.position,
        "tokens": summary.tokens,
        "note": summary.note,
        "answers": found.logits.drop("node"),
        "n_neurons": _count(found),
        "n_links": found.edges.height,
        "neurons": neurons,
        "links": links,
        "scores": found.scores,
    }


def _show(found: AttributionGraph, neurons: pl.DataFrame, links: pl.DataFrame, *, all_links: str) -> None:
    summary, scores = found.summary, found.scores
    out.print(Text(cell(found.prompt.text), style="bold"))
    goal = {"top_k": "sum of the top logits", "tokens": "sum of the answers' logits", "contrast": "logit difference"}
    where = f"after {summary.tokens[summary.position]!r} (position {summary.position})"
    print_facts(
        [
            ("goal", f"{goal.get(summary.goal, summary.goal)} {summary.goal_value:.4g}, {where}"),
            ("model", f"{summary.model_id}, {summary.dtype}, rules {summary.rules}"),
            *([("note", summary.note)] if summary.note else []),
        ]
    )
    out.print()
    print_frame(found.logits, columns=["token", "logit", "probability", "goal_weight"], title="Answers")
    out.print()
    shown = [
        column for column in neurons.columns if column != "label" or neurons["label"].null_count() < neurons.height
    ]
    title = f"Strongest neurons, {neurons.height} of {_count(found)} (relevance in logits)"
    print_frame(neurons, columns=shown, title=title, empty="none passed the threshold; lower --tau")
    out.print()
    title = f"Strongest {all_links} (flow in logits)"
    print_frame(links, columns=["source", "target", "weight", "flow"], title=title)
    out.print()
    print_facts(
        [
            ("completeness", f"{scores['completeness']:.1%} of inflow, by influence, comes from these nodes"),
            ("replacement", f"{scores['replacement']:.1%} of influence reaches the answer without passing an error"),
            ("edges kept", f"{scores['kept_edge_share']:.1%} of all weight between these nodes"),
            ("conservation", f"off by {scores['conservation_error']:.1e} at most"),
        ]
    )


def _count(found: AttributionGraph) -> int:
    return found.nodes.filter(pl.col("kind") == "neuron").height


def _excluded_neurons(named: Sequence[str], *, always_on: float | None, path: Path, model_id: str) -> tuple[str, ...]:
    """Neurons to leave out, in text form: the named ones, and with a share `always_on` those that are nodes of at least so many of
    the atlas's graphs. Raises `BadInput` where there is no atlas, or it is of another model."""
    if always_on is None:
        return tuple(dict.fromkeys(named))
    if not path.exists():
        raise BadInput(
            f"--skip-always-on needs statistics of many graphs, but there is no atlas at {path} yet; build one with "
            "`neuron-atlas materialize`, or name the neurons with --exclude"
        )
    from neuron_atlas.adapters.atlas_duckdb import open_atlas
    from neuron_atlas.adapters.subject_model.config import find_folder
    from neuron_atlas.adapters.subject_model.load import model_revision

    revision = model_revision(find_folder(model_id))
    with open_atlas(path) as atlas:
        built_on = atlas.metadata.get("model_revision", "")
        if built_on != revision:
            raise BadInput(
                f"the atlas at {path} was built on another model ({built_on[:12]}, not {revision[:12]}), so its statistics are "
                "of other neurons. Build an atlas of this model, or name the neurons with --exclude"
            )
        found = atlas.always_on(always_on)["neuron_id"].to_list()
    return tuple(dict.fromkeys((*named, *found)))
