"""The demo: a small trained language model that ships with the package, its prompt sets, its corpus and its studies. With it the
whole pipeline runs on a fresh machine without a download.

    small-world/           the model: weights, tokenizer, model card, training record
    prompts/ corpus/       its prompt sets and its text corpus
    studies/               studies for `neuron-atlas analyze --config NAME`
    world/                 the facts, questions and texts that the model is taught
    train.py               trains the model and writes its folder
    training_settings.py   every number that shapes the training
    tokenizer.py           the word-level tokenizer
    accuracy.py            how often a model answers the questions correctly
    model_card.py          writes the model card
    write_prompt_sets.py         writes `prompts/` and `corpus/`
    write_studies.py             writes `studies/`

Not here: loading a model (`adapters/subject_model`), models for tests (`neuron_atlas_tests`). This file only says where the shipped
files are; importing it imports nothing heavy.
"""

from pathlib import Path

_HERE = Path(__file__).parent

MODEL_DIR = _HERE / "small-world"
PROMPTS_DIR = _HERE / "prompts"
CORPUS_DIR = _HERE / "corpus"

__all__ = ["CORPUS_DIR", "MODEL_DIR", "PROMPTS_DIR"]
