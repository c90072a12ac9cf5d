"""`neuron-atlas analyze`: the circuit of a prompt, of a study's prompts, or of a saved graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import click
from rich.text import Text

from neuron_atlas.cli.circuits.analysis_files import AnalysisFiles
from neuron_atlas.cli.circuits.analysis_run import AnalysisRun
from neuron_atlas.cli.circuits.analyze_study import analyze_study
from neuron_atlas.cli.multi_word_options import MultiWordCommand
from neuron_atlas.cli.printing import json_option, progress
from neuron_atlas.core.attribution.exchange.slugs import checked_slug, default_slug
from neuron_atlas.core.circuits.analysis.analyze import AnalyzeOptions
from neuron_atlas.core.circuits.analysis.modules.concepts import ConceptQuery
from neuron_atlas.core.circuits.analysis.modules.graph_modules import View
from neuron_atlas.core.records import AttributionGraph, Prompt, TraceOptions
from neuron_atlas.errors import BadInput
from neuron_atlas.settings import load_settings

EXAMPLES = """Examples:

\b
  neuron-atlas analyze "the capital of the state containing Bend is"
  neuron-atlas analyze "the capital of the state containing Bend is" --contrastive " Salem" " Boise" \\
      --donor "the capital of the state containing Nampa is" --concept state " Oregon"
  neuron-atlas analyze --config study.yaml
  neuron-atlas analyze --config two-hop-geography       a study that comes with the demo model
  neuron-atlas analyze --graph graphs/relp-bend.json --json | jq '.modules[].name'

Each prompt leaves SLUG-graph.json, SLUG-analysis.json and SLUG-analysis.html in the output folder; a study also leaves
summary.json. An interrupted study continues where it stopped. Every analysis is also kept for the atlas: after
neuron-atlas build-db it is in the tables analyses, analysis_modules, analysis_members and analysis_flows.
"""


class _AnalyzeCommand(MultiWordCommand):
    multi_word_options = ("--target-tokens",)


@click.command(cls=_AnalyzeCommand, epilog=EXAMPLES)
@click.argument("prompt", required=False)
@click.option("--config", help="A study: a YAML file, or the name of one that comes with the demo model.")
@click.option(
    "--graph", "graph_file", type=click.Path(path_type=Path), help="A saved graph (JSON) instead of a prompt."
)
@click.option("--target-tokens", multiple=True, metavar="WORD...", help="Answers to trace: one or more words.")
@click.option("--contrastive", nargs=2, metavar="POS NEG", help="Trace logit(POS) - logit(NEG).")
@click.option("--answer-prefix", help="Text that the answer begins with, after the prompt.")
@click.option("--raw", is_flag=True, help="Do not wrap the prompt in the chat template.")
@click.option("--donor", help="A prompt of equal length whose module activations replace this prompt's.")
@click.option("--concept", nargs=2, multiple=True, metavar="NAME TOKEN", help="Find the module that writes TOKEN most.")
@click.option("--k", type=click.IntRange(1, 1000), help="Top logits to trace when no answers are named.")
@click.option("--tau", type=click.FloatRange(0, 1, max_open=True), help="Smallest |relevance| of a node.")
@click.option("--rules", help="Linearisation rules: relp, gate-frozen, half+qk, gradient.")
@click.option("--view", type=click.Choice(["roles", "flow"]), help="How modules are found; roles unless given.")
@click.option("--depth", type=click.IntRange(1, 10), help="How many times large modules are split; 3 unless given.")
@click.option(
    "--random-sets",
    type=click.IntRange(0, 1000),
    help="Random sets of neurons to compare each module with (0: no tests); 20 unless given.",
)
@click.option("--llm", is_flag=True, help="Ask the language model of the settings to describe the circuit.")
@click.option("--model", help="Hugging Face id or local folder.")
@click.option("--device", help="torch device, e.g. cpu or cuda:0.")
@click.option("--dtype", help="dtype of the forward pass, e.g. float32.")
@click.option("--slug", help="Name of the files.  [default: from the prompt]")
@click.option("-o", "--output", type=click.Path(path_type=Path, file_okay=False), default=Path("analyses"),
              show_default=True, help="Folder for the files.")  # fmt: skip
@click.option("--fresh", is_flag=True, help="Analyze finished prompts of the study again.")
@click.option("-q", "--quiet", is_flag=True, help="Print only the paths of the files.")
@json_option
def analyze(
    prompt: str | None,
    config: str | None,
    graph_file: Path | None,
    target_tokens: tuple[str, ...],
    contrastive: tuple[str, str] | None,
    answer_prefix: str | None,
    raw: bool,
    donor: str | None,
    concept: tuple[tuple[str, str], ...],
    k: int | None,
    tau: float | None,
    rules: str | None,
    view: View | None,
    depth: int | None,
    random_sets: int | None,
    llm: bool,
    model: str | None,
    device: str | None,
    dtype: str | None,
    slug: str | None,
    output: Path,
    fresh: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Analyze a circuit: its modules, what they read and write, what happens without them, what distinguishes the answers.

    Give PROMPT, --config or --graph. Labels come from the atlas, if there is one of this model.
    """
    if [prompt, config, graph_file].count(None) != 2:
        raise click.UsageError('give one of: a PROMPT, --config FILE, --graph FILE. E.g. neuron-atlas analyze "PROMPT"')
    if target_tokens and contrastive:
        raise click.UsageError("--target-tokens and --contrastive are two different goals; give one of them")
    settings = load_settings()
    settings = settings.model_copy(update={"device": device or settings.device, "dtype": dtype or settings.dtype})
    given = {"view": view, "max_depth": depth, "random_sets": random_sets}
    options = replace(AnalyzeOptions(), **{name: value for name, value in given.items() if value is not None})
    tracing = TraceOptions(k=k or settings.k, tau=settings.tau if tau is None else tau, rules=rules or settings.rules)
    concepts = {name: ConceptQuery((token,)) for name, token in concept}
    run = AnalysisRun(settings, model, llm=llm, quiet=quiet, as_json=as_json)
    if config is not None:
        unused = [
            *target_tokens,
            *(contrastive or ()),
            *concept,
            answer_prefix,
            donor,
            k,
            tau,
            rules,
            view,
            depth,
            slug,
        ]
        if raw or any(one is not None for one in unused):
            raise BadInput("the file of a study sets how its prompts are traced and analyzed; leave those options out")
        analyze_study(run, config, output, random_sets=random_sets, fresh=fresh)
    elif graph_file is not None:
        if raw or answer_prefix or target_tokens or contrastive or tau is not None or k is not None:
            raise BadInput("a saved graph is traced already; leave out the options of tracing")
        _analyze_graph(run, graph_file, output, slug, options=options, donor=donor, concepts=concepts)
    elif prompt is not None:
        asked = Prompt(prompt, answer_prefix, target_tokens, contrastive, raw=raw)
        name = checked_slug(slug) if slug else default_slug(asked).removeprefix("relp-")
        files = AnalysisFiles(output, name)
        run.analyze_and_show(
            run.model(), asked, files, options=options, tracing=tracing, donor=donor, concepts=concepts
        )


def _analyze_graph(
    run: AnalysisRun,
    file: Path,
    output: Path,
    slug: str | None,
    *,
    options: AnalyzeOptions,
    donor: str | None,
    concepts: Mapping[str, ConceptQuery],
) -> None:
    from neuron_atlas.adapters.graphs.graph_files import read_graph

    graph = read_graph(file)
    name = checked_slug(slug) if slug else file.name.removesuffix(".json").removesuffix("-graph")
    model = run.model() if run.model_id or _is_of(graph, run.settings.model) else None
    if model is None and not run.quiet:
        progress.print(
            Text("the graph was made by another model than that of the settings; test its modules with --model", "dim")
        )
    tracing = graph.summary.options or TraceOptions()
    files = AnalysisFiles(output, checked_slug(name))
    run.analyze_and_show(model, graph, files, options=options, tracing=tracing, donor=donor, concepts=concepts)


def _is_of(graph: AttributionGraph, model_id: str) -> bool:
    """Whether a model in a local folder made the graph; only its files are hashed, nothing is loaded or downloaded."""
    from neuron_atlas.adapters.subject_model.load import model_revision

    folder = Path(model_id).expanduser()
    return folder.is_dir() and graph.summary.model_revision == model_revision(folder)
