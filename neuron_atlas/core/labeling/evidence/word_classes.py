"""Closed word classes of English: the few words a language has a fixed list of.

They let a label say "number words" or "prepositions" where no text explains what tokens share. Open classes (nouns, names,
verbs) are never listed: what their members share must come out of the data (`lexicon.py`). Words of other languages simply
belong to no class here.
"""

from __future__ import annotations

from types import MappingProxyType

_TEENS = "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
_LISTS = {
    "number words": f"zero one two three four five six seven eight nine {_TEENS} twenty thirty forty fifty sixty seventy "
    "eighty ninety hundred thousand million billion",
    "ordinal words": "first second third fourth fifth sixth seventh eighth ninth tenth",
    "articles": "a an the",
    "demonstratives": "this that these those",
    "pronouns": "i you he she it we they me him her us them myself yourself himself herself itself ourselves themselves",
    "possessives": "my your his its our their mine yours hers ours theirs",
    "prepositions": "of in on at by for with from to into onto over under near behind beside above below between among "
    "through across against about during before after without within along around toward towards",
    "conjunctions": "and or but nor so yet because although though while if unless since whereas",
    "question words": "who whom whose which what when where why how",
    "forms of be": "be am is are was were been being",
    "auxiliary verbs": "has have had do does did can could will would shall should may might must",
    "negations": "not no never none nothing nobody neither",
    "months": "january february march april june july august september october november december",
    "weekdays": "monday tuesday wednesday thursday friday saturday sunday",
}
_MEMBERS = {name: frozenset(words.split()) for name, words in _LISTS.items()}

FORMATTING = frozenset({"punctuation marks", "brackets and quotes", "white space", "digits"})
"""Classes of marks, not of words."""

STRUCTURAL = frozenset(
    {"articles", "demonstratives", "pronouns", "possessives", "prepositions", "conjunctions", "question words"}
    | {"forms of be", "auxiliary verbs", "negations"}
)
"""Classes whose words carry grammar, not content."""

DETERMINERS = (
    _MEMBERS["articles"] | _MEMBERS["demonstratives"] | _MEMBERS["possessives"] | {"every", "each", "some", "many"}
)

FUNCTION_WORDS = frozenset(word for name in STRUCTURAL for word in _MEMBERS[name])
"""Too common to say what a text is about."""

CLASSES = MappingProxyType(_MEMBERS)
"""Class name to its words, lower case."""


_BREAKS = frozenset({"\\n", "\\n\\n", "\\t", "\\r\\n"})
"""Line breaks and tabs as `aggregation.token_words` writes them for reading."""


def classes_of(token: str) -> list[str]:
    """The classes a token belongs to, all parts of a hyphened one; marks and digits are recognised by their characters."""
    word = token.strip()
    if not word.strip("␣") or word in _BREAKS:
        return ["white space"] if token else []
    if word.isdigit():
        return ["digits"]
    if not any(character.isalnum() for character in word):
        return ["brackets and quotes" if all(c in "()[]{}<>\"'`«»“”‘’" for c in word) else "punctuation marks"]
    parts = word.lower().split("-")
    return [name for name, words in CLASSES.items() if all(part in words for part in parts)]
