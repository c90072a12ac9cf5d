"""What the rules make of a list of tokens: its theme, and a label of at most 8 words that names it.

A theme is what a list of tokens is about: a trait its strongest tokens share, or, when they share none, the tokens
themselves. Tokens that a label could not show safely (control characters, links, brackets) are never quoted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from neuron_atlas.core.labeling.evidence.evidence_record import MAX_LISTED, SharedTrait, TokenList, TokenWeight
from neuron_atlas.core.labeling.evidence.labeler_answer import MAX_LABEL_WORDS, enumerate_words, is_quotable, quoted

_HEAD = 0.5
_MOST = 10

ThemeKind = Literal["class", "form", "context", "tokens"]


@dataclass(frozen=True, slots=True)
class Theme:
    """What tokens are about. `name` reads as a plural ("number words") and is empty for kind `tokens`; `tokens` are the
    strongest that belong to it; `focus` (0..1) is how far the strongest stands above the weakest of a full list, and 1 where
    the list is not full: nothing else takes part."""

    kind: ThemeKind
    name: str
    tokens: tuple[TokenWeight, ...]
    focus: float

    @property
    def words(self) -> list[str]:
        """Texts of its tokens that a label may quote, strongest first, each once."""
        return list(dict.fromkeys(token.text.strip() for token in self.tokens if is_quotable(token.text)))


def theme_of(listed: TokenList, *, sign: int = 1, head: float = _HEAD) -> Theme | None:
    """The theme of the tokens whose weight has the given sign; None when there are none.

    Without a shared trait it is the tokens with at least a share `head` of the strongest weight.
    """
    tokens = [token for token in listed.tokens if token.weight * sign > 0]
    if not tokens:
        return None
    top = abs(tokens[0].weight)
    focus = 1 - abs(tokens[-1].weight) / top if len(tokens) >= MAX_LISTED else 1.0
    for trait in sorted(listed.shared, key=_plainness):
        carriers = tuple(token for token in tokens if token.token_id in trait.token_ids)
        if len(carriers) >= 3:
            return Theme(trait.kind, trait_name(trait), carriers[:_MOST], focus)
    strong = tuple(token for token in tokens if abs(token.weight) >= head * top)
    return Theme("tokens", "", strong[:_MOST], focus)


def _plainness(trait: SharedTrait) -> tuple[int, float]:
    """Classes say more than contexts, contexts more than spelling; but number (plural, singular) is plain."""
    is_number = trait.kind == "form" and not trait.name.startswith(("words ending", "capitalised"))
    order = 0 if trait.kind == "class" else 1 if is_number else 2 if trait.kind == "context" else 3
    return order, trait.base


def trait_name(trait: SharedTrait) -> str:
    """A trait as a plural noun: `number words`, `capital-related words`."""
    return f"{trait.name}-related words" if trait.kind == "context" else trait.name


def phrase(verb: str, theme: Theme, *, of: str = "") -> str:
    """`promotes capital-related words: Salem, Boise` or `promotes “Salem”, “run” and “twelve”`, in at most 8 words.

    `of` names a domain for tokens without a trait.
    """
    words = theme.words
    if theme.name:
        words_left = MAX_LABEL_WORDS - len(f"{verb} {theme.name}:".split())
        return f"{verb} {theme.name}: {', '.join(words[: max(1, min(2, words_left))])}"
    if of and len(words) > 1:
        return f"{verb} {of} words: {', '.join(words[:2])}"
    return f"{verb} {enumerate_words([quoted(word) for word in words])}"
