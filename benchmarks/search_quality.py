"""Do searches find the neurons that are about what was asked? nDCG@10 over judged questions on an atlas of the demo model.

    python benchmarks/search_quality.py [.neuron_atlas/neuron_atlas.duckdb]

A question names a concept of the demo's world (core facts in `neuron_atlas/demo/world`): its words are listed there, not here, and
not by any search. How relevant a label is to it is judged from what is held about the neuron, never from the label: for an
output label the ten tokens that firing promotes most by weights (`output_projections`), for an input label the tokens at the peaks
of its ten strongest texts (`exemplars`). Grade 2 when at least half of them are words of the concept; 1 when at least a fifth are
such words or what the demo's texts call the concept ("capital", "drug"). nDCG@10
uses gains 2^grade - 1 and the best order that the atlas could give (Järvelin & Kekäläinen 2002). Results go to
benchmarks/results/search_quality.md.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import log2
from pathlib import Path
from typing import get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray

from neuron_atlas.adapters.atlas_duckdb import Atlas, open_atlas
from neuron_atlas.core.publication.search.search_query import Mode
from neuron_atlas.demo.world.arithmetic import number_word
from neuron_atlas.demo.world.geography import COUNTRIES, STATES
from neuron_atlas.demo.world.grammar import MAIN_VERBS
from neuron_atlas.demo.world.grammar import NOUNS as PEOPLE
from neuron_atlas.demo.world.medicine import ENZYME_OF_DRUG, ORGAN_OF_DISEASE, TRANSMITTER_OF_FUNCTION
from neuron_atlas.demo.world.multilingual import LANGUAGES, OPPOSITES
from neuron_atlas.demo.world.multilingual import NOUNS as THINGS

RESULTS = Path(__file__).parent / "results" / "search_quality.md"
K = 10

CALLED: Mapping[str, tuple[str, ...]] = {
    "states": ("state",), "state capitals": ("capital", "state"), "cities": ("city",), "countries": ("country",),
    "country capitals": ("capital", "country"), "languages": ("language",), "continents": ("continent",), "drugs": ("drug",),
    "enzymes": ("enzyme", "inhibits", "inhibited"), "transmitters": ("neurotransmitter", "brain"), "diseases": ("disease", "sick"),
    "organs": ("organ", "damages"), "numbers": ("plus", "equals", "sum"),
    "opposites in French and Spanish": ("opposite", "contraire", "French", "Spanish"), "opposites in English": ("opposite",),
    "plurals abroad": ("plural", "pluriel", "French", "Spanish"),
}  # fmt: skip
"""What the demo's texts call a concept; for some they have no word."""
CONCEPTS: Mapping[str, tuple[Iterable[str], tuple[str, ...]]] = {
    "states": (STATES, ("American states", "names of US states", "Ohio, Texas and other states", "states of the union")),
    "state capitals": (
        (capital for capital, _ in STATES.values()),
        ("state capitals", "capital cities of American states", "seat of a state government", "Juneau, Phoenix, Denver"),
    ),
    "cities": (
        (city for _, cities in STATES.values() for city in cities),
        ("cities in the United States", "American towns that are no capital", "names of cities", "Anchorage or Tucson"),
    ),
    "countries": (COUNTRIES, ("names of countries", "countries of the world", "nations", "France, Spain and Italy")),
    "country capitals": (
        (capital for capital, *_ in COUNTRIES.values()),
        ("capitals of countries", "European capital cities", "seat of a national government", "Paris, Berlin, Rome"),
    ),
    "languages": (
        {language for _, language, *_ in COUNTRIES.values()} | set(LANGUAGES),
        ("names of languages", "which language is spoken", "German, Polish, Swedish", "languages people speak"),
    ),
    "continents": (
        {continent for *_, continent, _ in COUNTRIES.values()},
        ("continents", "which continent a country is in", "Europe, Asia, Africa", "parts of the world"),
    ),
    "drugs": (ENZYME_OF_DRUG, ("names of drugs", "medicines", "aspirin and ibuprofen", "pharmaceuticals patients take")),
    "enzymes": (
        set(ENZYME_OF_DRUG.values()),
        ("enzymes", "which enzyme a drug inhibits", "reductase, cyclooxygenase", "proteins that drugs act on"),
    ),
    "transmitters": (
        set(TRANSMITTER_OF_FUNCTION.values()),
        ("neurotransmitters", "dopamine, serotonin", "chemical signals of the brain", "messenger molecules between nerve cells"),
    ),
    "diseases": (
        ORGAN_OF_DISEASE, ("diseases", "names of illnesses", "hepatitis, nephritis", "disorders of an organ"),
    ),
    "organs": (
        set(ORGAN_OF_DISEASE.values()),
        ("organs of the body", "which organ a disease affects", "liver, heart, lung", "parts of the body"),
    ),
    "numbers": (
        [number_word(n) for n in range(41)],
        ("number words", "results of additions", "sums of small numbers", "twenty-two and twenty-three", "arithmetic answers"),
    ),
    "plural verbs": (
        [plural for _, plural, _ in MAIN_VERBS],
        ("plural verbs", "are, have, do", "verb forms for several people", "agreement with a plural subject"),
    ),
    "singular verbs": (
        [singular for singular, *_ in MAIN_VERBS],
        ("singular verbs", "is, has, does", "verb forms for one person", "agreement with a singular subject"),
    ),
    "people": (
        [word for pair in PEOPLE for word in pair],
        ("people and animals", "professions and relatives", "farmers, doctors and nurses", "nouns for persons"),
    ),
    "opposites in French and Spanish": (
        [word for pair in OPPOSITES for entry in pair for word in entry[1:]],
        (
            "French and Spanish adjectives",
            "foreign words for hot and cold",
            "chaud, froid, caliente",
            "opposites in other languages",
        ),
    ),
    "opposites in English": (
        [entry[0] for pair in OPPOSITES for entry in pair],
        ("adjectives", "English words with an opposite", "hot, cold, big, small", "describing words"),
    ),
    "plurals abroad": (
        [plural for entry in THINGS for _, plural in entry[1:]],
        ("plurals in French or Spanish", "chats, perros, casas", "foreign plural nouns", "several things in another language"),
    ),
}  # fmt: skip
"""Concept to its words in the demo's world, and how people ask for it."""

Key = tuple[int, int, int, str]
Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Judged:
    """A question about a concept, and the grade (1 or 2) of every description that has one."""

    concept: str
    text: str
    grades: Mapping[Key, int]


def facts(atlas: Atlas) -> pl.DataFrame:
    """layer, neuron, polarity, side, tokens: what is known of every labeled description without its label."""
    promoted = atlas.sql(
        "SELECT layer, neuron, direction AS polarity, 'output' AS side, list(trim(token) ORDER BY rank) AS tokens "
        "FROM output_projections WHERE rank < 10 GROUP BY ALL"
    )
    fired = atlas.sql(
        "SELECT layer, neuron, polarity, 'input' AS side, list(trim(tokens[peak_position + 1]) ORDER BY rank) AS tokens "
        "FROM exemplars WHERE kind = 'top' AND rank < 10 GROUP BY ALL"
    )
    labeled = atlas.sql(
        "SELECT layer, neuron, polarity, side FROM descriptions WHERE label IS NOT NULL AND is_preferred"
    )
    return pl.concat([promoted, fired], how="vertical_relaxed").join(
        labeled, on=["layer", "neuron", "polarity", "side"]
    )


def judge(known: pl.DataFrame) -> list[Judged]:
    """The questions of every concept that some neuron of this atlas is about."""
    judged: list[Judged] = []
    for concept, (words, texts) in CONCEPTS.items():
        about, called = share_of(words), share_of([*words, *CALLED.get(concept, ())])
        grades = {
            (layer, neuron, polarity, side): grade
            for layer, neuron, polarity, side, grade in known.select(
                "layer",
                "neuron",
                "polarity",
                "side",
                pl.when(about >= 0.5).then(2).when(called >= 0.2).then(1).otherwise(0),
            ).iter_rows()
            if grade
        }
        if grades:
            judged += [Judged(concept, text, grades) for text in texts]
    return judged


def share_of(words: Iterable[str]) -> pl.Expr:
    """How many of a neuron's tokens are among some words, 0..1."""
    return pl.col("tokens").list.eval(pl.element().is_in(sorted(set(words)))).list.mean().cast(pl.Float64)


def ndcg(found: list[Key], grades: Mapping[Key, int]) -> float:
    gained = sum((2 ** grades.get(key, 0) - 1) / log2(place + 2) for place, key in enumerate(found[:K]))
    best = sum(
        (2**grade - 1) / log2(place + 2) for place, grade in enumerate(sorted(grades.values(), reverse=True)[:K])
    )
    return gained / best


def difference_interval(one: Scores, other: Scores) -> tuple[float, float]:
    """The 95 % interval of the mean difference between two rankings of the same questions, by drawing questions anew."""
    drawn = np.random.default_rng(0).choice(one - other, (10_000, len(one))).mean(axis=1)
    return float(np.quantile(drawn, 0.025)), float(np.quantile(drawn, 0.975))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("atlas", nargs="?", type=Path, default=Path(".neuron_atlas/neuron_atlas.duckdb"))
    scores: dict[str, Scores] = {}
    times: dict[str, float] = {}
    with open_atlas(parser.parse_args().atlas) as atlas:
        judged = judge(facts(atlas))
        for mode in get_args(Mode):
            started = time.process_time()
            scores[mode] = np.array([
                ndcg([hit.key[:4] for hit in atlas.labels.search(question.text, mode=mode, limit=K).hits], question.grades)
                for question in judged
            ])  # fmt: skip
            times[mode] = (time.process_time() - started) / len(judged) * 1000
        revision = atlas.metadata["model_revision"][:12]
    tuned = np.array([list(CONCEPTS).index(question.concept) % 2 == 0 for question in judged])
    better = max("meaning", "words", key=lambda mode: float(scores[mode].mean()))
    low, high = difference_interval(scores["hybrid"], scores[better])
    lines = [
        "# Search quality", "", "`python benchmarks/search_quality.py`: that file says how relevance is judged.", "",
        f"{len(judged)} questions about {len(CONCEPTS)} concepts; demo model {revision}, atlas file. What of a label is embedded, "
        "which words of a question are looked for, and which hits by words are merged was chosen on every other concept; the rest "
        "is held out.", "",
        "| ranked by | nDCG@10 | chosen on | held out | CPU ms a question |", "|---|---|---|---|---|",
        *(
            f"| {mode} | {s.mean():.3f} | {s[tuned].mean():.3f} | {s[~tuned].mean():.3f} | {times[mode]:.0f} |"
            for mode, s in scores.items()
        ),
        "", f"hybrid - {better}: {(scores['hybrid'] - scores[better]).mean():+.3f}, 95 % of resampled question sets within "
        f"[{low:+.3f}, {high:+.3f}].", "",
        "| question | relevant | " + " | ".join(scores) + " |", "|---|---|" + "---|" * len(scores),
        *(
            f"| {question.text} | {len(question.grades)} | " + " | ".join(f"{s[i]:.2f}" for s in scores.values()) + " |"
            for i, question in enumerate(judged)
        ),
    ]  # fmt: skip
    RESULTS.write_text("\n".join(lines) + "\n")
    print("\n".join(lines[4:13]))


if __name__ == "__main__":
    main()
