"""`neuron-atlas view`: a conversation with the model in the terminal, its neurons watched through a filter and steered.

A line that begins with `/` is a command, anything else is said to the model. Lines come from a person or from a pipe; mistakes
are told and the conversation goes on (from a pipe they end it, with exit code 2).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import click

from neuron_atlas.cli.printing import json_option, out, progress
from neuron_atlas.cli.publication.view_session import COMMANDS, Answering, Session
from neuron_atlas.errors import AtlasError
from neuron_atlas.settings import load_settings

EXAMPLES = """Examples:

\b
  neuron-atlas view
  neuron-atlas view --filter "top:1e-3 layer:2.." --text "the capital of the state containing Bend is"
  printf '%s\\n' "two plus two is" "/filter attribution:10" "/top" | neuron-atlas view --json

/help lists the commands and what a filter may say.
"""


@click.command(epilog=EXAMPLES)
@click.option("--text", help="Read a plain text instead of talking; /regenerate continues it.")
@click.option("--system", help="System message at the start of the conversation.")
@click.option(
    "--filter", "wanted", metavar="FILTER", help="What to watch, e.g. 'keyword:capital top:1e-3'.  [default: all]"
)
@click.option("--load", "saved", type=click.Path(path_type=Path, dir_okay=False), help="Continue a saved view.")
@click.option(
    "--max-new-tokens",
    type=click.IntRange(0),
    default=64,
    show_default=True,
    help="Largest number of tokens in an answer.",
)
@click.option(
    "--temperature", type=click.FloatRange(0), default=0.0, show_default=True, help="0 takes the likeliest token."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Random seed, used at a temperature above 0.")
@click.option(
    "--top", type=click.IntRange(0, 1000), default=5, show_default=True, help="Instances to show after each message."
)
@click.option(
    "--duckdb", type=click.Path(path_type=Path, dir_okay=False), help="The atlas file.  [default: the settings']"
)
@click.option("--model", help="Hugging Face id or local folder.")
@click.option("--device", help="torch device, e.g. cpu or cuda:0.")
@click.option("--dtype", help="dtype of the forward pass, e.g. float32.")
@json_option
def view(
    text: str | None,
    system: str | None,
    wanted: str | None,
    saved: Path | None,
    max_new_tokens: int,
    temperature: float,
    seed: int,
    top: int,
    duckdb: Path | None,
    model: str | None,
    device: str | None,
    dtype: str | None,
    as_json: bool,
) -> None:
    """Talk to the model and watch its neurons: after every message the strongest activations in the filter are shown.

    Labels, clusters and quantiles come from the atlas; without one, filters that need them find nothing. With --json every
    result is one line of JSON.
    """
    if saved is not None and (text is not None or system is not None):
        raise click.UsageError("--load brings its own conversation; leave --text and --system out")
    settings = load_settings()
    answering = Answering(max_new_tokens=max_new_tokens, temperature=temperature, seed=seed, top=top)
    session = Session.opened(
        model=model or settings.model,
        device=device or settings.device,
        dtype=dtype or settings.dtype,
        atlas=duckdb or settings.atlas,
        is_atlas_needed=duckdb is not None,
        answering=answering,
        as_json=as_json,
    )
    if saved is not None:
        session.do(f"/load {saved}")
    elif text is not None:
        session.view.read(text)
    elif system is not None:
        session.view.begin(system)
    if wanted is not None:
        session.do(f"/filter {wanted}")
    if text is not None:
        session.show()
    is_person = sys.stdin.isatty()
    if is_person:
        _greet(session)
    for line in _lines(is_person):
        try:
            if not session.do(line):
                break
        except AtlasError as error:
            if not is_person:
                raise
            progress.print(str(error), style="red", markup=False)


def _greet(session: Session) -> None:
    out.print(f"{session.title}. Say something, or {', '.join(COMMANDS)}.", style="dim", markup=False)


def _lines(is_person: bool) -> Iterator[str]:
    """What is typed, until its end; Ctrl-C at the prompt leaves as Ctrl-D does."""
    if not is_person:
        yield from sys.stdin
        return
    with suppress(ImportError):
        import readline  # noqa: F401 - editing and history for input()
    while True:
        try:
            yield input("> ")
        except (EOFError, KeyboardInterrupt):
            out.print()
            return
