"""The page of the public Python names: `neuron_atlas.__all__`, the filters, and the classes that people get from them.

Classes are found by following annotations from the public functions: what they return with all its public methods and fields, and
the options and records that are passed in. Protocols (what a model has to offer) are in neuron_atlas/core/ports.py and left out.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from itertools import pairwise
from types import ModuleType

from pydantic import BaseModel
from reference_markdown import cell, code, fenced, prose, slug, table

import neuron_atlas as na
from neuron_atlas import errors

FIRST = ("load_model", "trace", "read_graph", "total_links", "analyze", "compare", "cluster_graph", "steer", "evaluate")
"""Functions in the order in which somebody meets them; those that open a store follow, then whatever else is public."""

INSIDES = ("neuron_atlas.adapters.subject_model.huggingface",)
PLAIN = ("neuron_atlas.core.records", "neuron_atlas.core.ports")


def python_page() -> list[str]:
    """The page's parts."""
    names = [n for n in na.__all__ if not n.startswith("_")]
    names = [*(n for n in FIRST if n in names), *(n for n in names if n not in FIRST)]
    public = {name: getattr(na, name) for name in names}
    functions = {name: value for name, value in public.items() if inspect.isfunction(value)}
    filters = {
        name: getattr(value, name) for value in public.values() if inspect.ismodule(value) for name in value.__all__
    }
    classes = _classes(
        [v for v in public.values() if not inspect.ismodule(v)],
        skip={v for v in filters.values() if inspect.isclass(v)},
    )
    records = [c for c in classes if issubclass(c, BaseModel)]
    tree = [v for v in vars(errors).values() if inspect.isclass(v) and v.__module__ == errors.__name__]
    parts = [
        "`import neuron_atlas as na` gives the names below and imports neither torch nor Dagster. Everything an asset does is a "
        "function below `neuron_atlas.core` as well; what is on this page keeps working between releases (see "
        "[Deprecation](../../CONTRIBUTING.md#deprecation)). Frames are polars frames; their columns are those of "
        "[the tables](tables.md).",
        "- [Functions](#functions): " + _index(functions),
        "- [Classes](#classes): " + _index({c.__name__: c for c in classes if c not in records}),
        "- [Records of an analysis](#records-of-an-analysis): " + _index({c.__name__: c for c in records}),
        "- [Module na.filters](#module-nafilters): "
        + _index({f"filters.{name}": value for name, value in filters.items()}),
        "- [Errors](#errors)",
        "## Functions",
    ]
    for name, function in functions.items():
        parts += [f"### {name}", _signature(f"na.{name}", function), prose(function.__doc__ or "")]
    parts += ["## Classes", "What the functions return and take."]
    for cls in classes:
        if cls not in records:
            parts += _class(cls, f"na.{cls.__name__}" if cls in public.values() else cls.__name__)
    parts += [
        "## Records of an analysis",
        "What `Analysis.record` and `ComparedGraphs.record` hold, and the JSON files of",
    ]
    parts[-1] += " `neuron-atlas analyze` and `neuron-atlas compare`."
    for cls in records:
        parts += _class(cls, cls.__name__)
    parts += [
        "## Module na.filters",
        "`na.filters` chooses neurons, polarities and tokens; see [the views](../neuron-view.md#filters).",
    ]
    for name, value in filters.items():
        if inspect.isclass(value):
            parts += _class(value, f"na.filters.{name}", heading=f"filters.{name}")
        elif inspect.isfunction(value):
            parts += [f"### filters.{name}", _signature(f"na.filters.{name}", value), prose(value.__doc__ or "")]
        else:
            parts += [f"### filters.{name}", prose(_attribute_texts(sys.modules[na.filters.__name__], value, name))]
    parts += ["## Errors", prose(_first_paragraph(errors)), fenced(_tree(errors))]
    parts += [table(("error", "meaning"), [(code(e.__name__), cell((e.__doc__ or "").split("\n\n")[0])) for e in tree])]
    return [p for p in parts if p]


def _index(found: dict[str, object]) -> str:
    return ", ".join(f"[`{name}`](#{slug(name)})" for name in found)


# ----------------------------------------------------------------------------------------------------------------- finding
def _classes(roots: list[object], *, skip: set[object]) -> list[type]:
    """The classes of neuron_atlas that are named in annotations, from the roots on; nearest first."""
    found: dict[type, None] = {}
    queue: list[object] = list(roots)
    while queue:
        here = queue.pop(0)
        if inspect.isclass(here):
            if here in found or here in skip or not _is_ours(here):
                continue
            found[here] = None
            queue += [member for _, member in _methods(here)]
            texts = [str(a) for base in here.__mro__ for a in inspect.get_annotations(base).values()]
            texts += _made_in_init(here)
        else:
            function = here.fget if isinstance(here, property) else inspect.unwrap(getattr(here, "__func__", here))
            texts = [str(a) for a in getattr(function, "__annotations__", {}).values()]
            here = function
        scope = _scope(sys.modules[here.__module__])
        names = dict.fromkeys(name for text in texts for name in re.findall(r"\b[A-Z]\w*", text))
        named = [scope[name] for name in names if inspect.isclass(scope.get(name))]
        # What a model says of its own insides is for those who work on attribution, not for those who use it.
        queue += [c for c in named if c.__module__ in PLAIN or here.__module__ not in INSIDES]
    return list(found)


@cache
def _scope(module: ModuleType) -> dict[str, object]:
    """The names of a module with those that it imports for type checkers alone."""
    late: dict[str, object] = {}
    for source, names in re.findall(
        r"^    from (neuron_atlas[\w.]+) import ([\w, ]+)$", inspect.getsource(module), re.MULTILINE
    ):
        late |= {name: getattr(import_module(source), name) for name in names.replace(" ", "").split(",")}
    return late | vars(module)


def _made_in_init(cls: type) -> list[str]:
    """Names of the classes of which the constructor makes public attributes: `self.labels = AtlasLabels(…)`."""
    init = cls.__dict__.get("__init__")
    source = inspect.getsource(init) if inspect.isfunction(init) and not dataclasses.is_dataclass(cls) else ""
    return re.findall(r"self\.[a-z]\w* = ([A-Z]\w*)\(", source)


def _is_ours(cls: type) -> bool:
    """A public class of this project that holds something: no protocol, no record of a report's JSON."""
    ours = cls.__module__.startswith("neuron_atlas.") and not cls.__name__.startswith("_")
    return ours and not getattr(cls, "_is_protocol", False) and not issubclass(cls, Exception)


def _methods(cls: type) -> Iterator[tuple[str, object]]:
    """Public methods and properties, inherited ones of this project first, in the order they are written."""
    members: dict[str, object] = {}
    for base in reversed(cls.__mro__):
        if base.__module__.startswith("neuron_atlas.") and not getattr(base, "_is_protocol", False):
            members |= {n: m for n, m in vars(base).items() if not n.startswith("_") and _is_method(m)}
    yield from members.items()


def _is_method(member: object) -> bool:
    return isinstance(member, (property, classmethod, staticmethod)) or inspect.isfunction(member)


# ---------------------------------------------------------------------------------------------------------------- printing
def _class(cls: type, name: str, heading: str = "") -> Iterator[str]:
    yield f"### {heading or cls.__name__}"
    yield prose("" if _doc(cls).startswith(f"{cls.__name__}(") else _doc(cls))
    if not name.startswith("na."):
        yield f"*`from {cls.__module__} import {cls.__name__}`*"
    fields = list(_fields(cls))
    if fields:
        head = ("field", "type", "default", "meaning")
        used = [i for i in range(len(head)) if any(row[i] for row in fields)]
        yield table([head[i] for i in used], [[row[i] for i in used] for row in fields])
    elif cls.__init__ is not object.__init__ and name.startswith("na."):
        yield _signature(name, cls)
        yield prose(cls.__init__.__doc__ or "")
    for method, member in _methods(cls):
        yield f"#### {heading or cls.__name__}.{method}"
        if isinstance(member, property):
            yield fenced(f"{method}: {_annotation(member.fget.__annotations__.get('return', ''))}", "python")
        else:
            yield _signature(method, getattr(cls, method))
        yield prose(inspect.getdoc(getattr(cls, method)) or "")


def _fields(cls: type) -> Iterator[tuple[str, str, str, str]]:
    """Name, type, default and meaning of a record's fields."""
    texts: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if base.__module__.startswith("neuron_atlas."):
            texts |= _field_texts(base)
    if dataclasses.is_dataclass(cls):
        for f in dataclasses.fields(cls):
            made = "" if f.default_factory is dataclasses.MISSING else "empty"
            default = made if f.default is dataclasses.MISSING else code(_value(f.default))
            if not f.name.startswith("_"):
                yield code(f.name), code(_annotation(f.type)), default, cell(texts.get(f.name, ""))
    elif issubclass(cls, BaseModel):
        for name, f in cls.model_fields.items():
            default = "" if f.is_required() else code(_value(f.default)) if f.default_factory is None else "empty"
            yield code(name), code(_annotation(_raw(cls, name))), default, cell(f.description or texts.get(name, ""))


def _raw(cls: type, field: str) -> str:
    """A field's annotation as it is written."""
    return next((str(a[field]) for base in cls.__mro__ if field in (a := inspect.get_annotations(base))), "")


def _field_texts(cls: type) -> dict[str, str]:
    """The texts that stand below fields in the source."""
    body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    assert isinstance(body, ast.ClassDef)
    return dict(_texts_below(body.body))


def _texts_below(statements: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    for field, below in pairwise(statements):
        target = (
            field.target
            if isinstance(field, ast.AnnAssign)
            else field.targets[0]
            if isinstance(field, ast.Assign)
            else None
        )
        if isinstance(target, ast.Name) and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            yield target.id, inspect.cleandoc(str(below.value.value))


def _attribute_texts(package: ModuleType, value: object, name: str) -> str:
    """The text below a constant, in whichever module of the package it is defined."""
    for module in [m for n, m in sys.modules.items() if n.startswith(package.__name__)]:
        texts = dict(_texts_below(ast.parse(inspect.getsource(module)).body))
        if getattr(module, name, None) is value and name in texts:
            return texts[name]
    return ""


def _signature(name: str, function: Callable[..., object]) -> str:
    """A call as code, an argument a line when it does not fit one."""
    signature = inspect.signature(function)
    arguments: list[str] = []
    was_keyword = False
    for p in signature.parameters.values():
        if p.kind is p.KEYWORD_ONLY and not was_keyword:
            arguments.append("*")
        was_keyword = was_keyword or p.kind in (p.KEYWORD_ONLY, p.VAR_POSITIONAL)
        if p.name == "self":
            continue
        star = {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, "")
        typed = f": {_annotation(p.annotation)}" if p.annotation is not p.empty else ""
        default = "" if p.default is p.empty else f" = {_value(p.default)}" if typed else f"={_value(p.default)}"
        arguments.append(f"{star}{p.name}{typed}{default}")
    back = signature.return_annotation
    end = "" if back is signature.empty or inspect.isclass(function) else f" -> {_annotation(back)}"
    line = f"{name}({', '.join(arguments)}){end}"
    if len(line) > 100:
        line = f"{name}(\n" + "".join(f"    {a},\n" for a in arguments) + f"){end}"
    return fenced(line, "python")


def _annotation(annotation: object) -> str:
    return annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))


def _value(value: object) -> str:
    """A default as text: the constant's name where the value is one of ours."""
    if callable(value):
        return getattr(value, "__name__", type(value).__name__)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return type(value).__name__ + "()" if type(value).__module__.startswith("neuron_atlas.") else repr(value)


def _doc(cls: type) -> str:
    return inspect.cleandoc(cls.__doc__ or "")


def _first_paragraph(module: ModuleType) -> str:
    return (module.__doc__ or "").split("\n\n")[0]


def _tree(module: ModuleType) -> str:
    return textwrap.dedent((module.__doc__ or "").split("\n\n")[1])
