"""What a labeler may answer about one neuron: a `Label`, or `Unlabeled` with the reason; and what text may stand in a label.

Labels are checked because language models, files and people write them too: links, control characters and angle brackets are
refused, lengths and types are bounded. What a labeler is shown is in `evidence_record.py`; how a language model's reply becomes
one of these is in `labelers/prompt.py`; how they look as rows of a table is in `label_rows.py`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

OutputType = Literal["semantic", "lexical", "routing", "formatting", "structural", "associative", "unknown"]
InputType = Literal["token-pattern", "context", "position", "upstream-gated", "combination", "unknown"]
Polarity = Literal[1, -1]

OUTPUT_TYPES: tuple[OutputType, ...] = (
    "semantic", "lexical", "routing", "formatting", "structural", "associative", "unknown",
)  # fmt: skip
INPUT_TYPES: tuple[InputType, ...] = (
    "token-pattern", "context", "position", "upstream-gated", "combination", "unknown",
)  # fmt: skip

MAX_LABEL = 80
"""Characters of a label."""
MAX_DESCRIPTION = 400
"""Characters of a description."""
MAX_LABEL_WORDS = 8
MIN_LABEL_WORDS = 2
"""Asked for are 3 to 8 words; two are accepted, for "plural nouns" is a good label."""
MAX_QUOTED_TOKEN = 20
"""Characters of a token that a label may quote."""

UNANSWERED = "no label came: "
"""How the reason begins when a labeler was asked and no usable answer came (refused, cut off, unreadable, server failure)."""
LEFT_OUT = "left out: "
"""How the reason begins when the budget did not reach the neuron."""

_LINK = re.compile(r"(?:https?:|www\.|://|\]\()", re.IGNORECASE)
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff<>]")


class Checked(BaseModel):
    """Base of all records that are filled from outside: frozen, and refuses fields it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def is_safe(text: str) -> bool:
    """Whether text may stand in a label: no control characters, no angle brackets, no links."""
    return not _UNSAFE.search(text) and not _LINK.search(text)


def made_safe(text: str, most: int = 200) -> str:
    """One line without what may not stand in a label, at most `most` characters: for reasons that quote others."""
    return " ".join(_LINK.sub(" ", _UNSAFE.sub(" ", text)).split())[:most].strip()


def is_quotable(token: str) -> bool:
    """Whether a token may stand in a label: visible, short, one word, free of links and control characters."""
    word = token.strip()
    is_short = 0 < len(word) <= MAX_QUOTED_TOKEN
    return is_short and word.isprintable() and not any(c.isspace() for c in word) and is_safe(word)


def quoted(token: str) -> str:
    """`“is”`: a token spoken about, not a word of the sentence."""
    return f"“{token.strip()}”"


def enumerate_words(words: Sequence[str], *, most: int = 3) -> str:
    """`Salem, Boise and Austin`."""
    shown = list(words[:most])
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def _safe(text: str) -> str:
    if _UNSAFE.search(text):
        raise ValueError("control characters and angle brackets are not allowed")
    if _LINK.search(text):
        raise ValueError("links are not allowed")
    if text != text.strip():
        raise ValueError("blank at an end")
    return text


def _few_words(text: str) -> str:
    n = len(text.split())
    if not MIN_LABEL_WORDS <= n <= MAX_LABEL_WORDS:
        raise ValueError(f"{n} words; expected 3 to {MAX_LABEL_WORDS}")
    return text


LabelText = Annotated[
    str, StringConstraints(min_length=3, max_length=MAX_LABEL), AfterValidator(_safe), AfterValidator(_few_words)
]
Sentence = Annotated[str, StringConstraints(min_length=3, max_length=MAX_DESCRIPTION), AfterValidator(_safe)]
ShortText = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_safe)]
TokenText = Annotated[str, StringConstraints(min_length=1, max_length=64)]


class Label(Checked):
    """An explanation: label, one or two sentences, type, the labeler's own confidence (0..1), and the tokens it predicts.

    On the output side the tokens rise (`direction` +1) or fall (-1) when the neuron fires; on the input side they are
    those it fires on. `token_ids` may be empty where only texts are known: `label_layer` looks them up.
    """

    label: LabelText
    description: Sentence
    type: OutputType | InputType
    confidence: Annotated[float, Field(ge=0, le=1)]
    tokens: Annotated[tuple[TokenText, ...], Field(max_length=32)] = ()
    token_ids: Annotated[tuple[int, ...], Field(max_length=32)] = ()
    direction: Polarity = 1

    @model_validator(mode="after")
    def _one_id_per_token(self) -> Label:
        if self.token_ids and len(self.token_ids) != len(self.tokens):
            raise ValueError(f"{len(self.tokens)} tokens but {len(self.token_ids)} ids; give one id per token, or none")
        return self


class Unlabeled(Checked):
    """No label, and why: a valid answer, stored apart from the label column."""

    reason: ShortText


def is_unanswered(reason: str | None) -> bool:
    """Whether a row without a label is worth asking again: no usable answer came, for the reason given behind `UNANSWERED`."""
    return reason is not None and reason.startswith(UNANSWERED)
