"""Names for graphs that are safe in file names, URLs and Neuronpedia: letters, digits, `_`, `.` and `-`."""

from __future__ import annotations

import re
import unicodedata

from neuron_atlas.core.records import Prompt
from neuron_atlas.errors import BadInput

SLUG = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
"""What a slug must look like, whole. It cannot begin with a dot or hold a slash, so it never leaves its folder."""

LONGEST = 50
"""Most characters that a slug takes from a text."""


def slugify(text: str) -> str:
    """Lower-case ASCII words joined by `-`, at most `LONGEST` characters; may be empty. Accents are dropped."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")[:LONGEST].rstrip("-")


def default_slug(prompt: Prompt) -> str:
    """`relp-the-capital-of-texas-is`; where the words do not say all (cut, other characters, targets given …) eight digits of
    the prompt's id follow, so that two prompts that differ in more than letter case never share a file."""
    words = slugify(prompt.text)
    is_plain = prompt.prompt_id == Prompt(prompt.text).prompt_id
    if is_plain and words and words.replace("-", " ") == prompt.text.lower():
        return f"relp-{words}"
    return "-".join(part for part in ("relp", words, prompt.prompt_id[:8]) if part)


def checked_slug(slug: str) -> str:
    """The slug itself; raises `BadInput` when it could not be a file name everywhere."""
    if not SLUG.fullmatch(slug):
        raise BadInput(
            f"{slug!r} is not a slug; expected 1 to 128 letters, digits, '_', '.' or '-', beginning with a letter or digit, "
            f"e.g. {slugify(slug) or 'aspirin-cox'!r}"
        )
    return slug


def scan_name(model_id: str) -> str:
    """The `scan` of a model: the last part of its id or path in allowed characters; `unknown-model` for none."""
    last = model_id.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", last).strip("-._")[:128] or "unknown-model"
