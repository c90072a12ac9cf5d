"""Graph files: one graph is written or read, a file is checked, the graphs of many files are read one after the other.

The forms are those of `core/attribution/exchange`: Neuronpedia's and circuit-tracer's JSON, the older viewer's, and a page.
Files may come from anybody: only regular files of a bounded size are opened. Among many files, links are not followed, and a file
that cannot be read as a graph is quarantined with one line that says why; the others are read all the same.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from neuron_atlas.adapters.files import make_folder, write_atomically
from neuron_atlas.core.attribution.exchange.reading.checks import CheckedGraph, check_graph_json
from neuron_atlas.core.attribution.exchange.reading.parsing import MAX_BYTES, parse_document
from neuron_atlas.core.attribution.exchange.reading.read_document import read_document
from neuron_atlas.core.attribution.graph.serialize import Form, document_text
from neuron_atlas.core.attribution.graph.traced_graph import TracedGraph
from neuron_atlas.core.records import NO_LABELS, AttributionGraph, NeuronLabels, Prompt, Quarantined
from neuron_atlas.errors import BadInput, UserError

INDEX_NAME = "graph-metadata.json"
"""The list of graphs that local viewers keep beside the graph files; it is no graph itself."""


def read_graph(path: str | Path, *, n_layers: int | None = None) -> TracedGraph:
    """The graph of a JSON file, in whichever form. `n_layers` is the model's, where the file does not say.

    Raises `BadInput` naming the file and, in one line, what is wrong with it.
    """
    file = Path(path)
    try:
        return TracedGraph.of(read_document(parse_document(_content(file)), n_layers=n_layers))
    except BadInput as error:
        raise BadInput(f"{file}: {error}") from error


def write_graph(
    graph: AttributionGraph,
    path: str | Path,
    *,
    form: Form = "neuronpedia",
    scan: str | None = None,
    labels: NeuronLabels = NO_LABELS,
) -> Path:
    """Write a graph, all or nothing: `.json` in the given form, `.html` as a page; its folder is made. Returns the path.

    The file's stem is the graph's slug, `scan` the model's name (default: from its id). Raises `BadInput` for another ending
    or a stem that is no slug, `UserError` where the disk refuses.
    """
    file = Path(path)
    text = document_text(graph, file.name, form=form, scan=scan, labels=labels)
    make_folder(file.parent)
    try:
        write_atomically(file, text)
    except OSError as error:
        raise UserError(f"cannot write {file}: {error.strerror}. Choose another place with --output") from error
    return file


def check_graph_file(path: str | Path) -> CheckedGraph:
    """What is wrong with a file, level by level. Raises `BadInput` only where it cannot be opened at all."""
    file = Path(path)
    try:
        content = _content(file)
    except BadInput as error:
        raise BadInput(f"{file}: {error}") from error
    return check_graph_json(content)


def list_graph_files(folder: str | Path) -> list[Path]:
    """The `.json` files of a folder in the order of their names. Raises `BadInput` where there is no folder or no such file."""
    root = Path(folder)
    if not root.is_dir():
        raise BadInput(f"{root} is not a folder; expected one of graph files (.json)")
    files = sorted(file for file in root.iterdir() if file.suffix == ".json" and file.name != INDEX_NAME)
    if not files:
        raise BadInput(f"{root} holds no .json file; expected one per graph")
    return files


def read_graphs(files: Iterable[Path]) -> Iterator[AttributionGraph | Quarantined]:
    """The graphs of files, in their order; a file that is no graph, or repeats another's prompt, comes back quarantined."""
    seen: dict[str, str] = {}
    for file in files:
        try:
            graph = read_document(parse_document(_content(file, follow_links=False)))
        except BadInput as error:
            yield quarantined_file(file, str(error))
            continue
        first = seen.setdefault(graph.prompt.prompt_id, file.name)
        yield graph if first == file.name else quarantined_file(file, f"the same prompt as {first}")


def quarantined_file(file: Path, reason: str) -> Quarantined:
    """A file that is left out, and why; its name takes the place of the prompt's text."""
    return Quarantined(Prompt(f"file {file.name}", tags={"file": file.name}), reason)


def _content(file: Path, *, follow_links: bool = True) -> bytes:
    """A regular file's bytes, at most `MAX_BYTES`. Raises `BadInput`."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow_links else os.O_NOFOLLOW)
    try:
        descriptor = os.open(file, flags)
    except OSError as error:
        what = "is a symbolic link" if file.is_symlink() and not follow_links else error.strerror
        raise BadInput(f"cannot be opened: {what}") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise BadInput("is not a regular file")
        if status.st_size > MAX_BYTES:
            raise BadInput(f"{status.st_size:,} bytes; at most {MAX_BYTES:,} are read")
        with open(descriptor, "rb", closefd=False) as stream:
            return stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise BadInput(f"cannot be read: {error.strerror}") from error
    finally:
        os.close(descriptor)
