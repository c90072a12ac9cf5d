"""The command line, `neuron-atlas COMMAND`. A command parses its options, calls one function and prints the result.

    attribution/ aggregation/ labeling/ circuits/ publication/   a file per command, in the folder of its stage
    materialize.py          `materialize`, `build-db`, and running the assets of a stage, for all commands that do
    prompts.py              `prompts list` and `prompts add`
    dev.py                  `dev` and `stop`
    interruption.py         Ctrl-C, SIGTERM and SIGHUP
    open_stores.py          opens the atlas file and the search database of the settings
    layer_option.py         the option `--layer`
    multi_word_options.py   options that take several words
    printing.py             tables, JSON, highlighted tokens; the options `--json` and `--limit`

A new command is a file in the folder of its stage with a click command of the same name, and a line in `_COMMANDS` below.
Results go to stdout, progress and notes to stderr; `--json` prints for machines; every `--help` has an example.

Not here: what is computed (`core`), reading and writing files and databases, SQL (`adapters`), running assets (`defs/running`).

Exit codes: 0 done, 1 failed for good (damaged data, a failed check), 2 a mistake to correct (wrong name, option or file), 75 try
again later (a server does not answer, a partition is in use), 130 interrupted (143 by SIGTERM, 129 by SIGHUP), 3 `label` left
neurons out when its budget ended.
"""

from __future__ import annotations

import os
import signal
import sys
from importlib import import_module
from keyword import iskeyword

import click

from neuron_atlas.cli.interruption import interruptible
from neuron_atlas.errors import AtlasError, TransientError, UserError

_COMMANDS: dict[str, tuple[str, str]] = {
    "materialize": ("materialize", "Build the atlas, or some of its assets."),
    "summary": ("publication.summary", "What the atlas contains, with two example questions."),
    "graph": ("attribution.graph", "Trace one prompt: which neurons produced its answer."),
    "analyze": ("circuits.analyze", "A prompt's circuit: modules, what they do, what happens without them."),
    "compare": ("circuits.compare", "Two graphs side by side."),
    "neuron": ("publication.neuron", "Everything known about one neuron."),
    "search": ("publication.search", "Find neurons by meaning."),
    "view": ("publication.view", "Talk to the model, watch and steer its neurons."),
    "query": ("publication.query", "Find neurons by text, or ask the atlas in SQL."),
    "prompts": ("prompts", "List and add prompt sets."),
    "aggregate": ("aggregation.aggregate", "Statistics over all graphs, or over a folder of graph files."),
    "label": ("labeling.label", "Label neurons: what they do, what triggers them; also by hand."),
    "import": ("publication.import_labels", "Import labels from a file, a folder or a database."),
    "export": ("publication.export_labels", "Write labels as Parquet or JSON lines."),
    "cluster": ("circuits.cluster", "Cluster neurons into circuits: the whole model, a file, or one graph."),
    "build-db": ("materialize", "Publish the atlas file and the search database."),
    "validate": ("attribution.validate", "Check graph files."),
    "dev": ("dev", "Open the Dagster UI."),
    "stop": ("dev", "Stop the embedded Postgres."),
}
"""Command to (module of this folder, one line for the list)."""

EXAMPLES = """Examples:

\b
  neuron-atlas materialize
  neuron-atlas graph "the capital of the state containing Bend is"
  neuron-atlas search "state capitals" --limit 5
  neuron-atlas neuron L4/N17
  neuron-atlas query "plural verb" --json
"""


class _Commands(click.Group):
    """A group whose commands are imported when they run, and where every expected error becomes one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = import_module(f"neuron_atlas.cli.{_COMMANDS[cmd_name][0]}")
        name = cmd_name.replace("-", "_")
        command = getattr(module, f"{name}_" if iskeyword(name) else name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in _COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> object:
        with interruptible() as last_signal:
            try:
                return self._invoke(ctx)
            except (KeyboardInterrupt, click.Abort):
                number = last_signal() or signal.SIGINT
                advice = "; what is finished is kept: run the same command again to continue" if _goes_on(ctx) else ""
                click.echo(f"neuron-atlas: interrupted by {signal.Signals(number).name}{advice}", err=True)
                ctx.exit(128 + number)

    def _invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except AtlasError as error:
            click.secho(f"neuron-atlas: {error}", err=True, fg="red")
            ctx.exit(2 if isinstance(error, UserError) else 75 if isinstance(error, TransientError) else 1)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader left, e.g. `| head`
            ctx.exit(0)


def _goes_on(ctx: click.Context) -> bool:
    """Whether the interrupted command continues where it was when it is run again."""
    return ctx.invoked_subcommand in ("materialize", "build-db", "aggregate", "label", "cluster", "analyze")


@click.group(cls=_Commands, epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="neuron_atlas")
def main() -> None:
    """A searchable atlas of a language model's MLP neurons: what each does, what triggers it, how they are wired.

    Exit codes: 0 done, 1 failed, 2 a mistake to correct, 75 try again later, 130 interrupted (143 by
    SIGTERM, 129 by SIGHUP); `label` ends with 3 when the budget left neurons out.
    """
