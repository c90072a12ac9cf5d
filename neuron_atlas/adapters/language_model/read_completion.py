"""What a chat completion says, and what an error of a server means.

answered    text that ended by itself
refused     the model declined, or its server's filter did
truncated   the answer hit the token limit
failed      the request itself was wrong (too long …): asking the same again cannot help
"""

from __future__ import annotations

from collections.abc import Mapping

import openai
from openai.types.chat import ChatCompletion

from neuron_atlas.adapters.language_model.ledger import Answer
from neuron_atlas.adapters.language_model.redaction import redacted
from neuron_atlas.adapters.language_model.server_settings import Server
from neuron_atlas.errors import AtlasError, BadInput, PermanentError

REPEATABLE = frozenset({408, 409, 425, 429})
"""Statuses below 500 that may pass."""
_MOST_TEXT = 200


class NotAnAnswer(Exception):
    """A reply that is no chat completion: half a stream, another JSON, nothing at all."""


def read_completion(completion: ChatCompletion, *, guessed_prompt: int) -> Answer:
    """The answer in a completion. Tokens that the server did not count are guessed. Raises `NotAnAnswer`."""
    choices = getattr(completion, "choices", None)
    if not choices or getattr(choices[0], "message", None) is None:
        raise NotAnAnswer("the reply holds no choice")
    choice, usage = choices[0], completion.usage
    text = choice.message.content or ""
    prompt = usage.prompt_tokens if usage is not None else guessed_prompt
    spent = usage.completion_tokens if usage is not None else len(text) // 3
    if choice.message.refusal or choice.finish_reason == "content_filter":
        reason = choice.message.refusal or "the server's content filter"
        return Answer("refused", f"refused: {short(reason)}", prompt, spent)
    if choice.finish_reason == "length":
        return Answer("truncated", f"truncated after {spent} tokens", prompt, spent)
    if not text.strip():
        raise NotAnAnswer("the reply is empty")
    return Answer("answered", text, prompt, spent)


def fatal(error: openai.APIStatusError, server: Server) -> AtlasError | None:
    """What ends everything: no request will ever succeed like this."""
    said = short(redacted(str(error), server.api_key))
    at = server.base_url or "the OpenAI server"
    if error.status_code in (401, 403):
        return BadInput(
            f"{at} refused the key ({error.status_code}): {said}. Set OPENAI_API_KEY to one that may use it."
        )
    if error.status_code == 404:
        return BadInput(
            f"{at} does not know model {server.model!r} (404): {said}. Set LABELER_MODEL or OPENAI_BASE_URL."
        )
    if 300 <= error.status_code < 400:
        return BadInput(
            f"{at} redirects ({error.status_code}); redirects are not followed. Set OPENAI_BASE_URL to the final address."
        )
    if error.status_code == 429 and error.code == "insufficient_quota":
        return PermanentError(f"{at} says that the account has no quota left: {said}. Add credit, then run again.")
    return None


def failure_reason(error: openai.APIStatusError, server: Server) -> str:
    """One line about a request that was refused for good."""
    return f"status {error.status_code}: {short(redacted(str(error), server.api_key))}"


def short(text: str) -> str:
    """One line without control characters, at most 200 characters."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).replace("<", "(").replace(">", ")").split())
    return line if len(line) <= _MOST_TEXT else line[: _MOST_TEXT - 1] + "…"


def lower_keys(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers by lower-case name."""
    return {name.lower(): value for name, value in headers.items()}
