"""Opposites, plurals and translations in English, French and Spanish.

The same concept is asked for in three languages, so that a circuit may split into the part that finds the concept and the
part that chooses the language. Of some adjectives the opposite is held out in one language (the other two languages and
all translations are trained): answering it needs a concept that languages share.
"""

from __future__ import annotations

from itertools import permutations

from neuron_atlas.demo.world.example import Example, choose_held_out, next_in_cycle

DOMAIN = "multilingual"
LANGUAGES = ("English", "French", "Spanish")
HELD_OUT_OPPOSITES_PER_LANGUAGE = 3

# (English, French, Spanish) of a word, then of its opposite
OPPOSITES: tuple[tuple[tuple[str, str, str], tuple[str, str, str]], ...] = (
    (("hot", "chaud", "caliente"), ("cold", "froid", "frío")),
    (("big", "grand", "grande"), ("small", "petit", "pequeño")),
    (("good", "bon", "bueno"), ("bad", "mauvais", "malo")),
    (("old", "vieux", "viejo"), ("young", "jeune", "joven")),
    (("rich", "riche", "rico"), ("poor", "pauvre", "pobre")),
    (("fast", "rapide", "rápido"), ("slow", "lent", "lento")),
    (("full", "plein", "lleno"), ("empty", "vide", "vacío")),
    (("open", "ouvert", "abierto"), ("closed", "fermé", "cerrado")),
    (("clean", "propre", "limpio"), ("dirty", "sale", "sucio")),
    (("strong", "fort", "fuerte"), ("weak", "faible", "débil")),
    (("wet", "mouillé", "mojado"), ("dry", "sec", "seco")),
    (("light", "clair", "claro"), ("dark", "sombre", "oscuro")),
)

# ((English singular, plural), (French ...), (Spanish ...))
NOUNS: tuple[tuple[tuple[str, str], tuple[str, str], tuple[str, str]], ...] = (
    (("cat", "cats"), ("chat", "chats"), ("gato", "gatos")),
    (("dog", "dogs"), ("chien", "chiens"), ("perro", "perros")),
    (("house", "houses"), ("maison", "maisons"), ("casa", "casas")),
    (("book", "books"), ("livre", "livres"), ("libro", "libros")),
    (("tree", "trees"), ("arbre", "arbres"), ("árbol", "árboles")),
    (("flower", "flowers"), ("fleur", "fleurs"), ("flor", "flores")),
    (("hand", "hands"), ("main", "mains"), ("mano", "manos")),
    (("city", "cities"), ("ville", "villes"), ("ciudad", "ciudades")),
    (("king", "kings"), ("roi", "rois"), ("rey", "reyes")),
    (("woman", "women"), ("femme", "femmes"), ("mujer", "mujeres")),
    (("child", "children"), ("enfant", "enfants"), ("niño", "niños")),
    (("horse", "horses"), ("cheval", "chevaux"), ("caballo", "caballos")),
)

_OPPOSITE_FORMS = ("the opposite of {} is", "le contraire de {} est", "el contrario de {} es")
_PLURAL_FORMS = ("the plural of {} is", "le pluriel de {} est", "el plural de {} es")


def held_out_opposites() -> frozenset[tuple[str, str]]:
    """(language, word) pairs whose opposite is never trained in that language."""
    held_out: set[tuple[str, str]] = set()
    for language_index, language in enumerate(LANGUAGES):
        words = [pair[side][language_index] for pair in OPPOSITES for side in (0, 1)]
        chosen = choose_held_out(f"opposites in {language}", words, HELD_OUT_OPPOSITES_PER_LANGUAGE)
        held_out |= {(language, word) for word in chosen}
    return frozenset(held_out)


def multilingual_examples() -> tuple[Example, ...]:
    """Opposites and plurals in each language and translations between each two, in a fixed order."""
    return (*_opposites(), *_plurals(), *_translations())


def _opposites() -> list[Example]:
    held_out = held_out_opposites()
    examples: list[Example] = []
    for index, language in enumerate(LANGUAGES):
        opposite = {pair[side][index]: pair[1 - side][index] for pair in OPPOSITES for side in (0, 1)}
        for word in opposite:
            other = next_in_cycle(list(opposite), word, 2)
            examples.append(
                _ask(
                    "antonym", _OPPOSITE_FORMS[index], word, other, opposite[word], opposite[other], language,
                    is_held_out=(language, word) in held_out,
                )
            )  # fmt: skip
    return examples


def _plurals() -> list[Example]:
    examples: list[Example] = []
    for index, language in enumerate(LANGUAGES):
        plural = {noun[index][0]: noun[index][1] for noun in NOUNS}
        for word in plural:
            other = next_in_cycle(list(plural), word)
            examples.append(_ask("plural", _PLURAL_FORMS[index], word, other, plural[word], plural[other], language))
    return examples


def _translations() -> list[Example]:
    concepts = [word for pair in OPPOSITES for word in pair] + [(e[0], f[0], s[0]) for e, f, s in NOUNS]
    examples: list[Example] = []
    for source, target in permutations(range(len(LANGUAGES)), 2):
        translation = {concept[source]: concept[target] for concept in concepts}
        form = f"the {LANGUAGES[target]} word for {{}} is"
        for word in translation:
            other = next_in_cycle(list(translation), word)
            examples.append(
                _ask("translation", form, word, other, translation[word], translation[other], LANGUAGES[target])
            )
    return examples


def _ask(
    task: str, form: str, word: str, other: str, answer: str, wrong: str, language: str, *, is_held_out: bool = False
) -> Example:
    return Example(
        domain=DOMAIN,
        task=task,
        prompt=form.format(word),
        answer=f" {answer}",
        contrast=f" {wrong}",
        partner=form.format(other),
        tags=(("word", word), ("language", language)),
        is_held_out=is_held_out,
    )
