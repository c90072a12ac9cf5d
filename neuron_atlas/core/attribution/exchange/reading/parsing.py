"""Bytes to a document: bounded before it is parsed, and its faults one line each.

A file of unknown origin is bounded by bytes, by the number of brackets (objects and arrays) and of commas (values), and while it is
parsed by nesting depth. `NaN` and `Infinity`, which Python's own reader would accept, are no JSON.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import FailFast, TypeAdapter, ValidationError
from pydantic_core import from_json

from neuron_atlas.core.attribution.exchange.schema import Document, Link, Node, Outline
from neuron_atlas.errors import BadInput

MAX_BYTES = 100 * 1024 * 1024
"""Largest document that is read; Neuronpedia takes no larger one."""
MAX_NODES = 20_000
MAX_LINKS = 1_000_000
MAX_OBJECTS = MAX_LINKS + 4 * MAX_NODES
MAX_COMMAS = 4 * MAX_LINKS + 60 * MAX_NODES

_NODES = TypeAdapter(Annotated[list[Node], FailFast()])
_LINKS = TypeAdapter(Annotated[list[Link], FailFast()])


def parse_json(data: bytes) -> object:
    """The JSON value of a file's bytes, bounded; raises `BadInput` with a one-line reason."""
    if len(data) > MAX_BYTES:
        raise BadInput(f"{len(data):,} bytes; at most {MAX_BYTES:,} are read")
    objects, commas = data.count(b"{") + data.count(b"["), data.count(b",")
    if objects > MAX_OBJECTS or commas > MAX_COMMAS:
        raise BadInput(
            f"{objects:,} brackets and {commas:,} commas; a graph has at most {MAX_OBJECTS:,} and {MAX_COMMAS:,} "
            f"({MAX_NODES:,} nodes, {MAX_LINKS:,} links)"
        )
    try:
        return from_json(data, allow_inf_nan=False)
    except ValueError as error:
        raise BadInput(f"not JSON: {error}") from error


def schema_faults(value: object) -> Iterator[str]:
    """Everything about a JSON value that the schema forbids, as `path: message`, in the document's order."""
    try:
        outline = Outline.model_validate(value)
    except ValidationError as error:
        yield from _messages(error, "")
        return
    for name, items, adapter in (
        ("nodes", outline.nodes, TypeAdapter(Node)),
        ("links", outline.links, TypeAdapter(Link)),
    ):
        for index, item in enumerate(items):
            try:
                adapter.validate_python(item)
            except ValidationError as error:
                yield from _messages(error, f"{name}.{index}.")


def parse_document(data: bytes) -> Document:
    """A document of the right shape from a file's bytes; raises `BadInput` naming its first fault."""
    return document_of(parse_json(data))


def document_of(value: object) -> Document:
    """The document of a JSON value; raises `BadInput` naming its first schema fault."""
    try:
        outline = Outline.model_validate(value)
        _check_counts(outline)
        nodes, links = _NODES.validate_python(outline.nodes), _LINKS.validate_python(outline.links)
    except ValidationError as error:
        fault = next(schema_faults(value), str(error))
        raise BadInput(f"not an attribution graph: {fault}") from error
    is_legacy = (
        outline.features is not None
        or outline.nodes_exceeded is not None
        or (outline.metadata.neuron_atlas is None and any(node.feature_type == "mlp_neuron" for node in nodes))
    )
    return Document.model_construct(
        metadata=outline.metadata,
        q_params=outline.q_params,
        nodes=nodes,
        links=links,
        form="legacy" if is_legacy else "neuronpedia",
        is_trimmed=outline.nodes_exceeded is True,
    )


def _check_counts(outline: Outline) -> None:
    if len(outline.nodes) > MAX_NODES or len(outline.links) > MAX_LINKS:
        raise BadInput(
            f"{len(outline.nodes):,} nodes and {len(outline.links):,} links; at most {MAX_NODES:,} and {MAX_LINKS:,} are read"
        )


def _messages(error: ValidationError, prefix: str) -> Iterator[str]:
    for fault in error.errors(include_url=False, include_context=False):
        path = (prefix + ".".join(str(part) for part in fault["loc"])).rstrip(".") or "the document"
        if fault["type"] == "missing":
            yield f"{path}: missing"
        else:
            yield f"{path}: expected {_EXPECTED.get(fault['type'], fault['msg'])}, got {_short(fault['input'])}"


_EXPECTED = {
    "model_type": "an object",
    "dict_type": "an object",
    "list_type": "an array",
    "string_type": "text",
    "int_type": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "bool_type": "true or false",
    "finite_number": "a number within 64-bit range",
}
"""Pydantic's kinds of fault in JSON's words."""


def _short(value: object) -> str:
    """A value in a message: cut, on one line."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "an array"
    text = ascii(value)
    return text if len(text) <= 40 else text[:39] + "…"
