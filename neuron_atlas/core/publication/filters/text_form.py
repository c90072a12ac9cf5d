"""The form in which people type filters, and the form in which they are shown again.

    "state capitals"                                neurons whose label means something like this (as like:"state capitals")
    keyword:capital layer:2..4 not polarity:-       terms side by side must all hold; `or` and brackets as usual
    layer:2,4..6                                    layers as everywhere (core/layer_ranges.py)
    [keyword:capital side:output score:0.5..]       square brackets: one label record fulfils all of it
    top:1e-3 token:Bend                             what fires in its top 0.1 % at the token Bend
    [to:Salem contrast:Austin attribution:20]       the 20 instances that tell Salem from Austin most
    L3/N17 or L3/N18+ or L4/N2@5                    single neurons, polarities, instances

`filter_of` reads it (and JSON, which begins with a brace), `text_of` writes it; `TERMS` names every term.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import TypeAlias

from pydantic import ValidationError

from neuron_atlas.core.layer_ranges import LayerRanges
from neuron_atlas.core.publication.filters.filter_classes import (
    DEFAULT_TOP_K,
    And,
    Attribution,
    Cluster,
    Description,
    Filter,
    Ids,
    Item,
    Layers,
    Neurons,
    Not,
    Or,
    Polarity,
    Quantile,
    Tokens,
    read_filter,
)
from neuron_atlas.errors import BadInput, UnknownName

Fields: TypeAlias = dict[str, object]
Made: TypeAlias = type[Description | Layers | Neurons | Polarity | Cluster | Quantile | Attribution | Tokens | Ids]

_TOKEN = re.compile(r'\s*(?:(?P<mark>[()\[\]])|(?P<name>[a-z_]+:)?(?P<text>"(?:[^"\\]|\\.)*"|[^\s()\[\]"]*))')
_ITEM = re.compile(r"L(\d{1,6})/N(\d{1,9})([+-]?)(?:@(\d{1,9}))?")
MAX_LENGTH = 10_000
MAX_DEPTH = 50


def _range(value: str, low: str, high: str, read: Callable[[str], float]) -> Fields:
    start, dots, end = value.partition("..")
    return {name: read(part) for name, part in ((low, start), (high, end if dots else start)) if part}


def _layer_fields(first: int | None, last: int | None) -> Fields:
    return {name: edge for name, edge in (("first", first), ("last", last)) if edge is not None}


def _layers(value: str) -> Filter:
    """The filter of one term `layer:`; a list such as `2,4..6` is an `or` of its ranges."""
    ranges = [Layers.model_validate(_layer_fields(first, last)) for first, last in LayerRanges.parse(value).ranges]
    return ranges[0] if len(ranges) == 1 else Or(filters=tuple(ranges))


def _sign(value: str) -> int:
    return {"+": 1, "-": -1}[value]


def _item(text: str) -> Item:
    match = _ITEM.fullmatch(text)
    if match is None:
        raise ValueError(text)
    layer, neuron, sign, position = match.groups()
    return Item(
        layer=int(layer),
        neuron=int(neuron),
        polarity=None if not sign else 1 if sign == "+" else -1,
        position=None if position is None else int(position),
    )


TERMS: Mapping[str, tuple[Made, str, Callable[[str], Fields]]] = {
    "like": (Description, "TEXT", lambda v: {"similar_to": v}),
    "nearest": (Description, "COUNT (with like)", lambda v: {"top_k": int(v)}),
    "similarity": (Description, "LEAST (with like)", lambda v: {"min_similarity": float(v)}),
    "keyword": (Description, "TEXT", lambda v: {"keyword": v}),
    "regex": (Description, "PATTERN", lambda v: {"regex": v}),
    "side": (Description, "output|input", lambda v: {"side": v}),
    "labeler": (Description, "NAME", lambda v: {"labeler": v}),
    "version": (Description, "VERSION", lambda v: {"version": v}),
    "type": (Description, "TYPE", lambda v: {"type": v}),
    "interpretability": (Description, "low|medium|high", lambda v: {"interpretability": v}),
    "score": (Description, "FROM..TO", lambda v: _range(v, "score_from", "score_to", float)),
    "layer": (
        Layers,
        "LAYERS (5, 3..12, 3.., ..12 or 2,4..6)",
        lambda v: _layer_fields(*LayerRanges.parse(v).ranges[0]),
    ),
    "neuron": (Neurons, "FROM..TO", lambda v: _range(v, "first", "last", int)),
    "polarity": (Polarity, "+|-", lambda v: {"polarity": _sign(v)}),
    "cluster": (Cluster, "PATH", lambda v: {"path": v}),
    "top": (Quantile, "SHARE", lambda v: {"level": float(v), "tail": "top"}),
    "bottom": (Quantile, "SHARE", lambda v: {"level": float(v), "tail": "bottom"}),
    "to": (Attribution, "TOKEN", lambda v: {"target": v}),
    "contrast": (Attribution, "TOKEN", lambda v: {"contrast": v}),
    "attribution": (Attribution, "COUNT", lambda v: {"top_k": int(v)}),
    "threshold": (Attribution, "LOGITS", lambda v: {"threshold": float(v)}),
    "sign": (Attribution, "+|-", lambda v: {"sign": _sign(v)}),
    "position": (Attribution, "POSITION of the logit", lambda v: {"position": int(v)}),
    "token": (Tokens, "TEXT", lambda v: {"text": v}),
    "at": (Tokens, "FROM..TO", lambda v: _range(v, "first", "last", int)),
    "ids": (Ids, "L3/N17+@4,…", lambda v: {"items": tuple(_item(t) for t in v.split(",") if t)}),
}
"""Name of a term to the filter it makes, how its value looks, and the fields it sets."""


def filter_of(text: str) -> Filter:
    """The filter that a person typed, or the JSON of one. Raises `BadInput` or `UnknownName` saying what was expected."""
    if len(text) > MAX_LENGTH:
        raise BadInput(f"the filter has {len(text)} characters; expected at most {MAX_LENGTH}")
    if text.lstrip().startswith("{"):
        return read_filter(text)
    reader = _Reader(text)
    found = reader.alternatives(0)
    if reader.peek() is not None:
        raise BadInput(f"the filter ends too early: {reader.rest()!r} is left over; is a bracket missing?")
    return found


class _Reader:
    """Reads one filter from left to right, token by token: a mark, or a term's name and value."""

    def __init__(self, text: str) -> None:
        self._text, self._at = text.strip(), 0

    def rest(self) -> str:
        return self._text[self._at :].strip()

    def peek(self) -> tuple[str, str] | None:
        """The next token, not yet taken: ("(", "") for a mark, ("", "and") for a bare word, ("layer", "3") for a term."""
        return self._next()[0]

    def take(self) -> tuple[str, str]:
        word, self._at = self._next()
        if word is None:
            raise BadInput('the filter ends where a term was expected, e.g. keyword:capital or "state capitals"')
        return word

    def _next(self) -> tuple[tuple[str, str] | None, int]:
        if not self.rest():
            return None, self._at
        match = _TOKEN.match(self._text, self._at)
        if match is None or match.end() == self._at or self._text[match.end() :].startswith('"'):
            raise BadInput(f"{self.rest()!r} cannot be read; put a text with spaces or brackets in double quotes")
        if match["mark"]:
            return (match["mark"], ""), match.end()
        name, text = (match["name"] or "")[:-1], match["text"]
        if text.startswith('"'):
            name, text = name or "like", _unquoted(text)
        return (name, text), match.end()

    def alternatives(self, depth: int) -> Filter:
        if depth > MAX_DEPTH:
            raise BadInput(f"the filter is nested more than {MAX_DEPTH} deep")
        found = [self.together(depth)]
        while self.peek() == ("", "or"):
            self.take()
            found.append(self.together(depth))
        return found[0] if len(found) == 1 else Or(filters=tuple(found))

    def together(self, depth: int) -> Filter:
        found = [self.single(depth)]
        while (word := self.peek()) not in (None, ("", "or"), (")", "")):
            if word == ("", "and"):
                self.take()
            found.append(self.single(depth))
        return found[0] if len(found) == 1 else And(filters=tuple(found))

    def single(self, depth: int) -> Filter:
        name, text = self.take()
        match name, text:
            case "(", _:
                found = self.alternatives(depth + 1)
                self._close(")")
                return found
            case "[", _:
                return self._group()
            case "", "not":
                if depth > MAX_DEPTH:
                    raise BadInput(f"the filter is nested more than {MAX_DEPTH} deep")
                return Not(filter=self.single(depth + 1))
            case "", "all":
                return And()
            case "", "none":
                return Or()
            case "", _ if _ITEM.fullmatch(text):
                return Ids(items=(_item(text),))
            case _:
                return _made([(name, text)])

    def _group(self) -> Filter:
        terms: list[tuple[str, str]] = []
        while self.peek() not in (None, ("]", "")):
            terms.append(self.take())
        self._close("]")
        if not terms:
            raise BadInput("the square brackets are empty; expected terms, e.g. [keyword:capital side:output]")
        return _made(terms)

    def _close(self, mark: str) -> None:
        if self.peek() != (mark, ""):
            raise BadInput(f"a {mark!r} is missing at {self.rest() or 'the end'!r}")
        self.take()


def _unquoted(text: str) -> str:
    try:
        return str(json.loads(text))
    except json.JSONDecodeError as error:
        raise BadInput(f"{text} is not well quoted: {error.msg}") from error


def _made(terms: list[tuple[str, str]]) -> Filter:
    """The one filter that terms make together."""
    if len(terms) == 1 and terms[0][0] == "layer":
        return _layers(terms[0][1])
    fields: Fields = {}
    kinds: list[Made] = []
    for name, value in terms:
        if not name:
            raise BadInput(f'{value!r} is not a term; write keyword:{value}, or "{value}" in quotes for its meaning')
        if name not in TERMS:
            raise UnknownName("filter term", name, TERMS)
        kind, form, read = TERMS[name]
        try:
            given = read(value)
        except (ValueError, KeyError) as error:
            raise BadInput(f"{name}:{value} cannot be read; expected {name}:{form}") from error
        if not fields.keys().isdisjoint(given):
            raise BadInput(f"{name} is given twice in one pair of brackets")
        fields |= given
        kinds.append(kind)
    if len(set(kinds)) > 1:
        names = ", ".join(f"{name}: {kind.__name__.lower()}" for (name, _), kind in zip(terms, kinds, strict=True))
        raise BadInput(f"the terms in one pair of square brackets make one filter, but these are of several ({names})")
    try:
        return kinds[0].model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        raise BadInput(f"{' '.join(f'{n}:{v}' for n, v in terms)}: {first['msg']}") from error


# ----------------------------------------------------------------------------------------------------------------- writing
def text_of(wanted: Filter) -> str:
    """The filter as a person would type it; `filter_of` reads it as a filter that holds the same items."""
    match wanted:
        case And(filters=()):
            return "all"
        case Or(filters=()):
            return "none"
        case And(filters=(only,)) | Or(filters=(only,)):
            return text_of(only)
        case And(filters=inner):
            return " ".join(_inside(part, Or) for part in inner)
        case Or() if (layers := _layer_list(wanted)) is not None:
            return f"layer:{layers}"
        case Or(filters=inner):
            return " or ".join(_inside(part, Or) for part in inner)
        case Not(filter=inner):
            return f"not {_inside(inner, And, Or)}"
        case _:
            terms = [f"{name}:{value}" for name, value in _terms(wanted)]
            return terms[0] if len(terms) == 1 else f"[{' '.join(terms)}]"


def _inside(part: Filter, *bracketed: type[Filter]) -> str:
    """The text of a part of a filter, in brackets where it would be read differently without."""
    while isinstance(part, And | Or) and len(part.filters) == 1:
        part = part.filters[0]
    text = text_of(part)
    if _layer_list(part) is not None:
        return text
    return f"({text})" if isinstance(part, bracketed) and isinstance(part, And | Or) and part.filters else text


def _layer_list(part: Filter) -> LayerRanges | None:
    """The ranges of an `or` of layers alone, which is written as one term `layer:2,4..6`; None for any other filter."""
    if not isinstance(part, Or) or not part.filters:
        return None
    ranges = [(one.first, one.last) for one in part.filters if isinstance(one, Layers)]
    return LayerRanges(tuple(ranges)) if len(ranges) == len(part.filters) else None


def _terms(wanted: Filter) -> list[tuple[str, str]]:
    """Term names and values of a filter that holds no others."""
    match wanted:
        case Layers(first=first, last=last):
            return [("layer", str(LayerRanges(((first, last),))))]
        case Neurons(first=first, last=last):
            return [("neuron", _spanned(first, last))]
        case Polarity(polarity=polarity):
            return [("polarity", _signed(polarity))]
        case Cluster(path=path):
            return [("cluster", path)]
        case Quantile(level=level, tail=tail):
            return [(tail, repr(level))]
        case Ids(items=items):
            return [("ids", ",".join(_item_text(item) for item in items))]
        case Tokens():
            told = _given(wanted, text="token")
            return told if told and wanted.first is None and wanted.last is None else [
                *told, ("at", _spanned(wanted.first, wanted.last))
            ]  # fmt: skip
        case Attribution():
            signed = [] if wanted.sign is None else [("sign", _signed(wanted.sign))]
            names = {
                "position": "position",
                "target": "to",
                "contrast": "contrast",
                "top_k": "attribution",
                "threshold": "threshold",
            }
            return [*_given(wanted, **names), *signed] or [("attribution", str(DEFAULT_TOP_K))]
        case Description():
            names = {
                "similar_to": "like", "top_k": "nearest", "min_similarity": "similarity", "keyword": "keyword",
                "regex": "regex", "side": "side", "labeler": "labeler", "version": "version", "type": "type",
                "interpretability": "interpretability",
            }  # fmt: skip
            is_scored = wanted.score_from is not None or wanted.score_to is not None
            return _given(wanted, **names) + (
                [("score", _spanned(wanted.score_from, wanted.score_to))] if is_scored else []
            )
        case _:
            raise TypeError(f"{type(wanted).__name__} holds other filters")


def _given(wanted: Description | Attribution | Tokens, **names: str) -> list[tuple[str, str]]:
    """The fields that are set, as terms; text is quoted."""
    fields = wanted.model_dump()
    found = [(term, fields[name]) for name, term in names.items() if fields[name] is not None]
    return [(term, json.dumps(v, ensure_ascii=False) if isinstance(v, str) else repr(v)) for term, v in found]


def _spanned(first: float | None, last: float | None) -> str:
    start, end = ("" if edge is None else repr(edge) for edge in (first, last))
    return start if start and start == end else f"{start}..{end}"


def _signed(sign: int) -> str:
    return "+" if sign > 0 else "-"


def _item_text(item: Item) -> str:
    sign = "" if item.polarity is None else _signed(item.polarity)
    return f"{item.id}{sign}{'' if item.position is None else f'@{item.position}'}"
