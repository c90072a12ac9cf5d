"""A word-level tokenizer whose tokens keep their leading space, saved in the form that AutoTokenizer loads.

``the capital of Oregon is`` becomes ``<bos>``, ``the``, `` capital``, `` of``, `` Oregon``, `` is``: as with a real model's
tokenizer, a word at the start of a text and the same word within it are two tokens, decoding is exact, and the BOS token
is added by encoding. Words outside the vocabulary become ``<unk>``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer
from tokenizers.decoders import Fuse
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split
from tokenizers.processors import TemplateProcessing

SPECIAL_TOKENS = {"pad_token": "<pad>", "bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>"}
PAD_ID, BOS_ID, EOS_ID, UNK_ID = range(4)


def build_tokenizer(tokens: Sequence[str], *, pattern: str) -> Tokenizer:
    """A tokenizer over ``tokens`` (each with its leading space, if it has one), cut from text by the regex ``pattern``.

    Ids 0..3 are pad, bos, eos and unk; ``tokens[i]`` has id ``i + 4``. Raises ValueError for a repeated token.
    """
    if len(set(tokens)) != len(tokens):
        raise ValueError(f"vocabulary: expected distinct tokens, got {len(tokens) - len(set(tokens))} repeated.")
    specials = list(SPECIAL_TOKENS.values())
    ids = {token: index for index, token in enumerate([*specials, *tokens])}
    tokenizer = Tokenizer(WordLevel(vocab=ids, unk_token=SPECIAL_TOKENS["unk_token"]))
    tokenizer.pre_tokenizer = Split(Regex(pattern), behavior="isolated")
    tokenizer.decoder = Fuse()
    tokenizer.post_processor = TemplateProcessing(
        single="<bos> $A", pair="<bos> $A <bos> $B", special_tokens=[("<bos>", BOS_ID)]
    )
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in specials])
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, folder: Path, *, longest: int) -> None:
    """Write tokenizer.json, tokenizer_config.json and special_tokens_map.json; ``longest`` is the model's context."""
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": longest,
        "clean_up_tokenization_spaces": False,
        "padding_side": "right",
        **SPECIAL_TOKENS,
    }
    _write_json(folder / "tokenizer_config.json", config)
    _write_json(folder / "special_tokens_map.json", SPECIAL_TOKENS)


def _write_json(path: Path, content: dict[str, object] | dict[str, str]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
