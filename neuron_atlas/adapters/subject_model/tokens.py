"""The subject model's tokenizer: prompts to ids, ids to readable text, answers to ids.

Prompts may come from files of unknown origin, so `encode` refuses one that is empty, too long, not valid Unicode, or has control
tokens where they would act as such. Each raises `BadInput`; its message becomes the reason in the row of a prompt that was not
traced.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tokenizers import AddedToken

from neuron_atlas.core.records import Prompt, Turn
from neuron_atlas.errors import BadInput


class Tokenizer(Protocol):
    """The part of a Hugging Face tokenizer that is used here."""

    @property
    def bos_token(self) -> str | None: ...

    @property
    def bos_token_id(self) -> int | None: ...

    @property
    def unk_token_id(self) -> int | None: ...

    @property
    def chat_template(self) -> str | None: ...

    @property
    def all_special_tokens(self) -> list[str]: ...

    @property
    def added_tokens_decoder(self) -> Mapping[int, AddedToken]: ...

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]: ...

    def decode(self, token_ids: list[int], *, clean_up_tokenization_spaces: bool) -> str: ...

    def convert_ids_to_tokens(self, ids: int) -> str | None: ...

    def convert_tokens_to_ids(self, tokens: list[str]) -> list[int]: ...

    def apply_chat_template(
        self, conversation: list[dict[str, str]], *, tokenize: bool, add_generation_prompt: bool
    ) -> str: ...


CHARACTERS_PER_TOKEN = 64
"""A text longer than this per position of the context is refused before it is tokenized."""


class TokenReader:
    """One tokenizer. `max_positions` is the model's context."""

    def __init__(self, tokenizer: Tokenizer, *, max_positions: int) -> None:
        self._tokenizer = tokenizer
        self._max_positions = max_positions
        self._texts: dict[int, str] = {}
        specials = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
        self._specials = sorted(specials | set(tokenizer.all_special_tokens))
        self.special_ids = frozenset(int(i) for i in tokenizer.convert_tokens_to_ids(self._specials))
        self._bos = tokenizer.bos_token_id
        self._is_bos_added = self._bos is not None and self._ids("a", add_special_tokens=True)[:1] == [self._bos]

    @property
    def unknown_id(self) -> int | None:
        """The id that stands for text outside the vocabulary, if there is one."""
        return self._tokenizer.unk_token_id

    def encode(self, prompt: Prompt) -> list[int]:
        """Ids of a prompt: its chat turn unless raw (or the tokenizer has no template), then the answer prefix, with exactly
        one BOS where the tokenizer or its template uses one. Raises `BadInput`, see the module."""
        self._check(prompt)
        if not prompt.raw and self._tokenizer.chat_template:
            turn = [{"role": "user", "content": prompt.text}]
            text = self._tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
            ids = self._ids(text + (prompt.answer_prefix or ""))
        else:
            ids = self._ids(_joined(prompt.text, prompt.answer_prefix or ""))
        return self._with_one_bos(ids)

    def encode_turns(self, turns: Sequence[Turn], *, answer_prefix: str = "") -> list[int]:
        """Ids of a conversation in the tokenizer's chat template, or as plain text, one turn after the other, without one.

        When an answer is due it begins with `answer_prefix`. Raises `BadInput` as `encode` does, and where the template refuses
        the order of the roles.
        """
        if not turns:
            raise BadInput("the conversation is empty")
        for turn in turns:
            if turn.text or turn.role != "assistant":
                self._check(Prompt(turn.text))
        is_answer_due = turns[-1].role != "assistant"
        if not self._tokenizer.chat_template:
            text = ""
            for turn in turns:
                text = text + turn.text if turn.role == "assistant" else _joined(text, turn.text)
            return self._with_one_bos(self._ids(_joined(text, answer_prefix if is_answer_due else "")))
        from jinja2 import TemplateError

        messages = [{"role": turn.role, "content": turn.text} for turn in turns]
        try:
            text = self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=is_answer_due)
        except TemplateError as error:
            roles = ", ".join(turn.role for turn in turns)
            raise BadInput(f"the model's chat template does not take the roles {roles}: {error}") from error
        return self._with_one_bos(self._ids(text + (answer_prefix if is_answer_due else "")))

    def continuation(self, token_ids: Sequence[int], new_ids: Sequence[int]) -> str:
        """Readable text of tokens that follow others, with the space between them if there is one; control tokens left out."""
        before, whole = self._decoded(token_ids), self._decoded([*token_ids, *new_ids])
        return whole.removeprefix(before) if whole.startswith(before) else self._decoded(new_ids)

    def _decoded(self, token_ids: Sequence[int]) -> str:
        shown = [i for i in token_ids if i not in self.special_ids]
        return self._tokenizer.decode(shown, clean_up_tokenization_spaces=False)

    def _with_one_bos(self, ids: list[int]) -> list[int]:
        """The ids with exactly one BOS where there is to be one. Raises `BadInput` for none beside it or too many."""
        has_bos = self._is_bos_added or (self._bos is not None and ids[:1] == [self._bos])
        while ids and ids[0] == self._bos and has_bos:
            ids = ids[1:]
        if not ids:
            raise BadInput("the prompt is empty: it has no token beside the begin-of-text token")
        if has_bos and self._bos is not None:
            ids = [self._bos, *ids]
        if len(ids) > self._max_positions:
            raise BadInput(f"the prompt has {len(ids)} tokens; the model's context holds {self._max_positions}")
        return ids

    def token_text(self, token_id: int) -> str:
        """Readable text of one token, its leading space kept; the tokenizer's own spelling where it is no text by itself, and
        `<id 412>` for an id that the tokenizer does not have (an embedding padded beyond it)."""
        if token_id not in self._texts:
            self._texts[token_id] = self._read(token_id)
        return self._texts[token_id]

    def token_candidates(self, text: str) -> list[tuple[int, bool]]:
        """First tokens that may stand for an answer, with whether each is all of it: as written, then with a leading space.
        Raises `BadInput` for an answer outside the vocabulary or that is not valid Unicode."""
        _check_unicode(text, "the answer")
        spellings = [text] if text[:1].isspace() else [text, f" {text}"]
        found: dict[int, bool] = {}
        for spelling in spellings:
            ids = self._ids(spelling) if text else []
            if ids and ids[0] != self.unknown_id:
                found.setdefault(ids[0], len(ids) == 1)
        readable = {i: whole for i, whole in found.items() if whole or self.token_text(i).strip()} or found
        if not readable:
            raise BadInput(f"the answer {text!r} begins with no token of the vocabulary; check its spelling and case")
        return list(readable.items())

    def token_id(self, text: str) -> tuple[int, bool]:
        """The token that stands for a word, and whether it is all of it. Raises `BadInput`."""
        candidates = self.token_candidates(text)
        return next((candidate for candidate in candidates if candidate[1]), candidates[0])

    def _ids(self, text: str, *, add_special_tokens: bool = False) -> list[int]:
        return [int(i) for i in self._tokenizer.encode(text, add_special_tokens=add_special_tokens)]

    def _check(self, prompt: Prompt) -> None:
        text = _joined(prompt.text, prompt.answer_prefix or "")
        if not text:
            raise BadInput("the prompt is empty")
        if len(text) > CHARACTERS_PER_TOKEN * self._max_positions:
            raise BadInput(
                f"the prompt has {len(text)} characters, too many for a context of {self._max_positions} tokens"
            )
        _check_unicode(text, "the prompt")
        if not prompt.raw:
            bos = self._tokenizer.bos_token
            inner = text.removeprefix(bos) if bos and not self._tokenizer.chat_template else text
            control = next((token for token in self._specials if token in inner), None)
            if control is not None:
                raise BadInput(f"the prompt contains the control token {control!r}; set raw if that is meant")

    def _read(self, token_id: int) -> str:
        raw = self._tokenizer.convert_ids_to_tokens(token_id)
        if raw is None:
            return f"<id {token_id}>"
        if token_id in self.special_ids:
            return raw
        once = self._tokenizer.decode([token_id], clean_up_tokenization_spaces=False)
        twice = self._tokenizer.decode([token_id, token_id], clean_up_tokenization_spaces=False)
        # Decoders may drop the space of a first token; the second one of a pair keeps it.
        text = twice[len(once) :] if twice.startswith(once) else once
        return raw if not text or "\ufffd" in text else text


def load_tokenizer(folder: Path, *, max_positions: int) -> TokenReader:
    """The tokenizer of a model folder. Raises `BadInput` where it cannot be read.

    A folder that names the general class gets it: by the model's type alone, some tokenizers would be read as another kind.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    kind = PreTrainedTokenizerFast if _is_general(folder / "tokenizer_config.json") else AutoTokenizer
    load = cast("Callable[..., Tokenizer]", kind.from_pretrained)  # pyright: ignore[reportUnknownMemberType]
    try:
        tokenizer = load(str(folder), local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise BadInput(
            f"no tokenizer can be read from {folder}: {error}. Expected tokenizer.json beside the weights"
        ) from error
    return TokenReader(tokenizer, max_positions=max_positions)


def _is_general(config: Path) -> bool:
    """Whether a tokenizer config names the class that takes tokenizer.json as it is."""
    try:
        content = cast("dict[str, object]", json.loads(config.read_text(encoding="utf-8")))
        return content["tokenizer_class"] == "PreTrainedTokenizerFast"
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _check_unicode(text: str, what: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadInput(f"{what} is not valid Unicode: lone surrogate at character {error.start}") from error


def _joined(text: str, answer_prefix: str) -> str:
    """Text and answer prefix, with a space between two words."""
    needs_space = bool(text) and bool(answer_prefix) and not text[-1].isspace() and answer_prefix[0].isalnum()
    return f"{text}{' ' if needs_space else ''}{answer_prefix}"
