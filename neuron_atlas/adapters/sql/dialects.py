"""From the shared text to what Postgres (psycopg) and DuckDB take."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib import resources

_PARAMETER = re.compile(r"(?<![:\w]):([a-z]\w*)")


def for_postgres(text: str) -> str:
    """The text with `%(name)s` for `:name`."""
    return _PARAMETER.sub(r"%(\1)s", text.replace("%", "%%"))


def for_duckdb(text: str, values: Mapping[str, object]) -> tuple[str, dict[str, object]]:
    """The text with `$name` for `:name`, and those of the values that it uses: DuckDB refuses any other."""
    return _PARAMETER.sub(r"$\1", text), {name: values[name] for name in set(_PARAMETER.findall(text))}


def bm25_sql(*, documents: str, terms: str, postings: str, then: str) -> str:
    """The ranking by words (see core/publication/search/bm25.py) over three relations, and the statement that reads its result, the
    relation `ranked` (document, words_score, matched, share_whole). Parameters: words, n_words, n_documents, mean_length."""
    ranking = _bm25().format(documents=documents, terms=terms, postings=postings)
    return f"{ranking}\n{then}"


@cache
def _bm25() -> str:
    text = (resources.files("neuron_atlas.adapters") / "sql" / "bm25.sql").read_text()
    return "\n".join(line for line in text.splitlines() if not line.startswith("--"))
