"""The demo: a small trained language model that ships with the package, its prompts and its corpus.

It makes the whole pipeline run on a fresh machine with no download. ``world`` is what it is taught, ``train`` makes it,
``prompt_sets`` writes the prompt files, ``planted`` builds a second, hand-written model for tests. This file only says
where the shipped files are; importing it imports nothing heavy.
"""

from pathlib import Path

_HERE = Path(__file__).parent

MODEL_DIR = _HERE / "small-world"
PROMPTS_DIR = _HERE / "prompts"
CORPUS_DIR = _HERE / "corpus"

__all__ = ["CORPUS_DIR", "MODEL_DIR", "PROMPTS_DIR"]
