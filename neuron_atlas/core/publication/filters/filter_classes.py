"""Filters over items (layer, neuron, polarity, token position): a tagged union that goes to JSON and back.

A filter is a set of items. A coordinate that it does not speak of is free: `Polarity(polarity=1)` holds every neuron at every
position. So `and`, `or` and `not` are those of sets, whatever the order: nothing depends on what stands before.

    from neuron_atlas import filters as f
    f.Description(keyword="capital", side="output") & ~f.Layers(last=1) & f.Quantile(level=1e-3, tail="top")

What a filter selects in an atlas and a text is in `evaluate.py`; the form people type in `text_form.py`.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self, TypeAlias

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from neuron_atlas.core.records import NeuronId
from neuron_atlas.core.tables import QUANTILE_LEVELS
from neuron_atlas.errors import BadInput

TAILS: dict[float, tuple[int, int]] = {
    level: (len(QUANTILE_LEVELS) - 1 - place, place) for place, level in enumerate(QUANTILE_LEVELS) if level < 0.5
}
"""Share of tokens in a tail to the places of its top and bottom limit in `QUANTILE_LEVELS`."""
Sign: TypeAlias = Literal[1, -1]
DEFAULT_NEAREST = 50
"""Neurons and polarities that `similar_to` keeps when nothing else is said."""
DEFAULT_TOP_K = 100
"""Instances that an attribution keeps when nothing else is said."""
MAX_TEXT = 1000
"""Longest text of a filter, in characters."""
Text = Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]


class _Filter(BaseModel):
    """What all filters share: they never change, refuse fields they do not have, and combine by `&`, `|` and `~`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def __and__(self, other: Filter) -> And:
        return And(filters=(self, other))  # pyright: ignore[reportArgumentType]: every filter class is in the union

    def __or__(self, other: Filter) -> Or:
        return Or(filters=(self, other))  # pyright: ignore[reportArgumentType]: as above

    def __invert__(self) -> Not:
        return Not(filter=self)  # pyright: ignore[reportArgumentType]: as above

    def to_json(self) -> str:
        """The filter as one line of JSON; `read_filter` reads it back."""
        return self.model_dump_json(exclude_defaults=False, exclude_none=True)


class Description(_Filter):
    """Neurons and polarities with one label record that fulfils everything named here at once.

    `similar_to` compares meanings: labels at least `min_similarity` (cosine) near, or those of the `top_k` nearest neurons
    and polarities among what else is named (50 when neither is given). `keyword` is plain text in label, description or tokens,
    whatever its case; `regex` is a pattern there (linear-time matching, no backtracking). `score_from` and `score_to` bound the
    score corrected for chance (0 chance, 1 perfect), ends included. `version` is the labeler's.
    """

    kind: Literal["description"] = "description"
    similar_to: Text | None = None
    top_k: int | None = Field(None, ge=1)
    min_similarity: float | None = Field(None, ge=-1, le=1)
    keyword: Text | None = None
    regex: Text | None = None
    side: Literal["output", "input"] | None = None
    labeler: Text | None = None
    version: Text | None = None
    type: Text | None = None
    interpretability: Literal["low", "medium", "high"] | None = None
    score_from: float | None = None
    score_to: float | None = None

    @model_validator(mode="after")
    def _is_sound(self) -> Self:
        if not self.model_fields_set - {"kind"} or all(v is None for k, v in self if k != "kind"):
            raise ValueError("a description filter names at least one thing, e.g. keyword or similar_to")
        if self.similar_to is None and (self.top_k is not None or self.min_similarity is not None):
            raise ValueError("top_k and min_similarity need similar_to: without it nothing says which come first")
        _refuse_reversed("score", self.score_from, self.score_to)
        if self.regex is not None:
            _refuse_bad_pattern(self.regex)
        return self


class Layers(_Filter):
    """Neurons of layers `first` to `last`, ends included; either may be open."""

    kind: Literal["layers"] = "layers"
    first: int | None = Field(None, ge=0)
    last: int | None = Field(None, ge=0)

    @model_validator(mode="after")
    def _is_sound(self) -> Self:
        _refuse_reversed("layer", self.first, self.last)
        return self


class Neurons(_Filter):
    """Neurons whose number in their layer is `first` to `last`, ends included; either may be open."""

    kind: Literal["neurons"] = "neurons"
    first: int | None = Field(None, ge=0)
    last: int | None = Field(None, ge=0)

    @model_validator(mode="after")
    def _is_sound(self) -> Self:
        _refuse_reversed("neuron", self.first, self.last)
        return self


class Polarity(_Filter):
    """One sign of the activation."""

    kind: Literal["polarity"] = "polarity"
    polarity: Sign


class Cluster(_Filter):
    """Neurons of a module and of those inside it: `3` holds `3.1`, not `31`."""

    kind: Literal["cluster"] = "cluster"
    path: str = Field(pattern=r"^\d{1,9}(\.\d{1,9}){0,30}$")


class Quantile(_Filter):
    """Instances in a tail of their neuron's own activations over the corpus.

    At or above the quantile 1 - `level` (top, polarity +), or at or below `level` (bottom, polarity -). Quantiles are of ordinary
    tokens: special ones of a text never pass, nor do neurons without quantiles (`NeuronFacts.missing_quantiles` counts them).
    """

    kind: Literal["quantile"] = "quantile"
    level: float
    tail: Literal["top", "bottom"] = "top"

    @model_validator(mode="after")
    def _is_sound(self) -> Self:
        if self.level not in TAILS:
            raise ValueError(f"level {self.level:g} is not kept; kept are {', '.join(f'{level:g}' for level in TAILS)}")
        return self


class Attribution(_Filter):
    """Instances by what they give to a logit (v · d logit / d v under the linearisation rules), in logits, with its sign.

    `target` is the token's text; without one it is the token that follows, or the model's own best guess at the end. `contrast`
    is a token whose logit is subtracted. The logit is read at `position` (-1: the last token); when none is given, just before the
    target where it last stands in the text, else at the last token. Kept are the `top_k` of largest |value|, or those of
    at least `threshold`, or both (100 when neither is given), of one `sign` where it is named. The polarity of an instance is
    the sign of its activation.
    """

    kind: Literal["attribution"] = "attribution"
    position: int | None = None
    target: Text | None = None
    contrast: Text | None = None
    top_k: int | None = Field(None, ge=1)
    threshold: float | None = Field(None, gt=0)
    sign: Sign | None = None

    @property
    def goal(self) -> Goal:
        """What is attributed: two filters of one goal share one computation, however many instances each keeps."""
        return self.position, self.target, self.contrast


Goal: TypeAlias = tuple[int | None, str | None, str | None]
"""Position, target and contrast of an attribution."""


class Tokens(_Filter):
    """Token positions `first` to `last` of the text (ends included, either open; negative ones count from the end), or those whose
    token is `text` (spaces at its ends and case aside)."""

    kind: Literal["tokens"] = "tokens"
    first: int | None = None
    last: int | None = None
    text: Text | None = None

    @model_validator(mode="after")
    def _is_sound(self) -> Self:
        if self.text is not None and not self.text.strip():
            raise ValueError("the token's text is blank")
        return self


class Item(BaseModel):
    """A neuron; with a polarity or position only there."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    layer: int = Field(ge=0)
    neuron: int = Field(ge=0)
    polarity: Sign | None = None
    position: int | None = Field(None, ge=0)

    @property
    def id(self) -> NeuronId:
        """The neuron."""
        return NeuronId(self.layer, self.neuron)


class Ids(_Filter):
    """Exactly these items; what an item leaves open is free."""

    kind: Literal["ids"] = "ids"
    items: tuple[Item, ...]


class And(_Filter):
    """Items in every one of `filters`; without any: all items."""

    kind: Literal["and"] = "and"
    filters: tuple[Filter, ...] = ()


class Or(_Filter):
    """Items in at least one of `filters`; without any: none."""

    kind: Literal["or"] = "or"
    filters: tuple[Filter, ...] = ()


class Not(_Filter):
    """Items that are not in `filter`."""

    kind: Literal["not"] = "not"
    filter: Filter


Filter: TypeAlias = Annotated[
    Description | Layers | Neurons | Polarity | Cluster | Quantile | Attribution | Tokens | Ids | And | Or | Not,
    Field(discriminator="kind"),
]
for _model in (And, Or, Not):
    _model.model_rebuild()
_READER: TypeAdapter[Filter] = TypeAdapter(Filter)

EVERYTHING = And()
"""Every item."""


def read_filter(text: str) -> Filter:
    """The filter of a JSON text. Raises `BadInput` naming the place that is wrong."""
    try:
        return _READER.validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the text"
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise BadInput(f"this is not a filter: {place}: {first['msg']}{more}") from error


def parts_of(wanted: Filter) -> list[Filter]:
    """The filter itself and all filters inside it."""
    match wanted:
        case And() | Or():
            return [wanted, *(part for inner in wanted.filters for part in parts_of(inner))]
        case Not():
            return [wanted, *parts_of(wanted.filter)]
        case _:
            return [wanted]


def _refuse_reversed(what: str, low: float | None, high: float | None) -> None:
    if low is not None and high is not None and low > high:
        raise ValueError(f"the {what} range {low:g}..{high:g} is empty; expected the smaller end first")


def _refuse_bad_pattern(pattern: str) -> None:
    """The matcher is the one that will be used, so what passes here cannot fail later."""
    try:
        pl.select(pl.lit("").str.contains(pattern))
    except pl.exceptions.ComputeError as error:
        raise ValueError(f"the pattern {pattern!r} cannot be used: {str(error).strip().splitlines()[-1]}") from error
