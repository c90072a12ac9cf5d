"""Label files from elsewhere, read line by line as `ImportedLabel`s; the format is recognised by the content.

    labels-json   {"neurons": {"L31/N8359": {"function_label": …, "input_label": …}}}   an interactive labeler's database
    neuronpedia   JSONL (.gz): {"modelId", "layer", "index", "description", "explanationModelName"}   an explanations export
    goodfire      JSONL (.gz): {"feature_metadata": {"layer", "neuron"}, "labels": [{"label", "metadata"}]}

A line that cannot be read is reported and left out; the rest is taken. Sizes are capped before anything is parsed.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from neuron_atlas.core.labeling.labelers.imported import ImportedLabel
from neuron_atlas.core.records import NeuronId
from neuron_atlas.errors import BadInput

Kind = Literal["labels-json", "neuronpedia", "goodfire"]
MAX_LINE = 4 << 20
MAX_JSON = 1 << 30
MAX_UNPACKED = 8 << 30
"""Bytes of one line, of a JSON document, of everything unpacked."""
GZIP_MAGIC = b"\x1f\x8b"
Refusals = Callable[[str], None]


def _leading_number(value: object) -> object:
    """`7` of `7-mlp` or "7"."""
    return value.partition("-")[0] if isinstance(value, str) else value


Number = Annotated[int, BeforeValidator(_leading_number), Field(ge=0)]


class _Explanation(BaseModel):
    layer: Number
    index: Number
    description: str
    explanationModelName: str | None = None
    typeName: str | None = None


class _Place(BaseModel):
    layer: Number
    neuron: Number


class _Parsed(BaseModel):
    description: str = ""


class _About(BaseModel):
    parsed_response: _Parsed | None = None


class _GoodfireLabel(BaseModel):
    label: str
    metadata: _About | None = None


class _Feature(BaseModel):
    feature_metadata: _Place
    labels: list[_GoodfireLabel] = Field(default_factory=list[_GoodfireLabel])


class _Entry(BaseModel):
    """A neuron of a label database; `output_*` is another name for `function_*`."""

    function_label: str | None = None
    function_description: str | None = None
    function_type: str | None = None
    output_label: str | None = None
    output_description: str | None = None
    output_type: str | None = None
    input_label: str | None = None
    input_description: str | None = None
    input_type: str | None = None
    confidence: float | str | None = None
    input_confidence: float | str | None = None


class _Database(BaseModel):
    neurons: dict[str, object]


def read_labels(path: Path, *, refused: Refusals, kind: Kind | None = None) -> tuple[Kind, Iterator[ImportedLabel]]:
    """The kind of a file and its labels. `refused` is called for every entry that is left out, with its line or name.

    Raises `BadInput` when the file is none of the known kinds (or not of `kind`), or larger than what is read.
    """
    if not path.is_file():
        raise BadInput(f"there is no file {path}; expected a file of labels: {', '.join(KINDS)}")
    found = kind or _kind_of(path)
    if found == "labels-json":
        return found, _from_database(path, refused)
    return found, _from_lines(path, _READERS[found], refused)


def _kind_of(path: Path) -> Kind:
    """The kind that the beginning of the file shows."""
    with _opened(path) as stream:
        line = stream.readline(MAX_LINE).strip()
    try:
        first: object = json.loads(line)
    except ValueError:
        first = None
    if isinstance(first, dict):
        if "feature_metadata" in first:
            return "goodfire"
        if "description" in first and "index" in first:
            return "neuronpedia"
        if "neurons" in first:
            return "labels-json"
    elif line.startswith(b"{"):  # a document over several lines
        return "labels-json"
    raise BadInput(
        f'{path} is not a label file of a known format; expected a JSON object with "neurons", or a JSON object a line with '
        '"description" and "index" (Neuronpedia explanations) or "feature_metadata" (Goodfire-like). Say what it is with --kind.'
    )


def _opened(path: Path) -> gzip.GzipFile:
    with path.open("rb") as stream:
        is_packed = stream.read(2) == GZIP_MAGIC
    return gzip.open(path) if is_packed else path.open("rb")  # type: ignore[return-value]  # both read bytes by line


def _from_lines(
    path: Path, read: Callable[[bytes], Iterator[ImportedLabel]], refused: Refusals
) -> Iterator[ImportedLabel]:
    total = 0
    with _opened(path) as stream:
        number = 0
        while True:
            number += 1
            try:
                line = stream.readline(MAX_LINE + 1)
            except (OSError, EOFError, zlib.error) as error:
                raise BadInput(
                    f"{path} is damaged or incomplete at line {number}: {error}. Get the file again; what was read so far is kept."
                ) from error
            if not line:
                return
            total += len(line)
            if len(line) > MAX_LINE or total > MAX_UNPACKED:
                raise BadInput(
                    f"{path} is larger than what is read: line {number} has more than {MAX_LINE >> 20} MiB, or all of it "
                    f"more than {MAX_UNPACKED >> 30} GiB. Split it."
                )
            if line.strip():
                try:
                    yield from read(line)
                except (ValidationError, BadInput) as error:
                    refused(f"line {number}: {_message(error)}")


def _from_explanation(line: bytes) -> Iterator[ImportedLabel]:
    row = _Explanation.model_validate_json(line)
    author = " ".join(part for part in (row.explanationModelName, row.typeName) if part)
    yield ImportedLabel(NeuronId(row.layer, row.index), 1, "input", row.description, "neuronpedia", author)


def _from_feature(line: bytes) -> Iterator[ImportedLabel]:
    row = _Feature.model_validate_json(line)
    if not row.labels:
        return
    first, place = row.labels[0], row.feature_metadata
    longer = first.metadata.parsed_response.description if first.metadata and first.metadata.parsed_response else ""
    yield ImportedLabel(NeuronId(place.layer, place.neuron), 1, "input", first.label, "goodfire", description=longer)


def _from_database(path: Path, refused: Refusals) -> Iterator[ImportedLabel]:
    with _opened(path) as stream:
        text = stream.read(MAX_JSON + 1)
    if len(text) > MAX_JSON:
        raise BadInput(f"{path} has more than {MAX_JSON >> 30} GiB; split its neurons over several files")
    try:
        database = _Database.model_validate_json(text)
    except ValidationError as error:
        raise BadInput(
            f'{path}: {_message(error)}; expected a JSON object {{"neurons": {{"L31/N8359": {{…}}}}}}'
        ) from error
    for name, entry in database.neurons.items():
        try:
            yield from _from_entry(NeuronId.parse(name), _Entry.model_validate(entry))
        except (ValidationError, BadInput) as error:
            refused(f"{name[:40]}: {_message(error)}")


def _from_entry(neuron: NeuronId, entry: _Entry) -> Iterator[ImportedLabel]:
    does = entry.function_label or entry.output_label
    if does:
        described = entry.function_description or entry.output_description or ""
        kind = entry.function_type or entry.output_type or "unknown"
        yield ImportedLabel(
            neuron,
            1,
            "output",
            does,
            "labels-json",
            description=described,
            type=kind,
            confidence=_number(entry.confidence),
        )
    if entry.input_label:
        yield ImportedLabel(
            neuron, 1, "input", entry.input_label, "labels-json", description=entry.input_description or "",
            type=entry.input_type or "unknown", confidence=_number(entry.input_confidence),
        )  # fmt: skip


def _number(value: float | str | None) -> float | None:
    return value if isinstance(value, float) else None


def _message(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else first["msg"]


_READERS: dict[Kind, Callable[[bytes], Iterator[ImportedLabel]]] = {
    "neuronpedia": _from_explanation,
    "goodfire": _from_feature,
}
KINDS: tuple[Kind, ...] = ("labels-json", "neuronpedia", "goodfire")
