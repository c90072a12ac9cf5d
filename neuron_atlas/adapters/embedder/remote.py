"""An embedder on a server with OpenAI's interface: OpenAI itself, vLLM, Ollama, llama.cpp, text-embeddings-inference …

Chosen by a name that begins with `openai:`. A server does not say which weights it has, so stored vectors name the model and the
server they came from, and vectors of two servers are never compared. How long a vector is shows in the first reply; every
other one must be as long. What is paid once is kept by `CachedEmbedder`.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from urllib.parse import urlsplit

import numpy as np
import openai
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from neuron_atlas.adapters.embedder.weights import REMOTE
from neuron_atlas.errors import AtlasError, BadInput, PermanentError, TransientError, Unreachable

TEXTS = 256
"""Texts in a request; servers take at most 2,048 texts and some 300,000 tokens."""
AT_ONCE = 4
"""Requests under way."""
TRIES = 6
TIMEOUT_S = 60.0
Array = NDArray[np.float32]


class _Entry(BaseModel):
    index: int
    embedding: list[float]


class _Reply(BaseModel):
    """The part of a reply that is used."""

    data: list[_Entry]


class RemoteEmbedder:
    """Fulfils `ports.Embedder` by POST /embeddings. Repeatable failures (429, 5xx, a lost connection) are repeated by the client
    with growing pauses, a redirect is refused. No key or password shows in a repr or an error."""

    def __init__(
        self, name: str, *, api_key: str, base_url: str | None = None, tries: int = TRIES, timeout_s: float = TIMEOUT_S
    ) -> None:
        """`name` is `openai:` and the model's name on its server; without `base_url` that is OpenAI's own. Asks nothing yet.

        Raises `BadInput` for a name without a model, or OpenAI's server without a key.
        """
        self.model = name.removeprefix(REMOTE)
        if not self.model or not name.startswith(REMOTE):
            raise BadInput(f"embedder {name!r} names no model; expected something like {REMOTE}text-embedding-3-small")
        if not api_key and base_url is None:
            raise BadInput(
                f"embedder {name!r} needs a key: set OPENAI_API_KEY, or NEURON_ATLAS_EMBEDDER_BASE_URL to a server that needs none"
            )
        self._address = "the OpenAI server" if base_url is None else f"{urlsplit(base_url).scheme}://{_place(base_url)}"
        self._id = name if base_url is None else f"{name}@{_place(base_url)}"
        self._key = api_key
        self._dimension: int | None = None
        self._base_url, self._tries, self._timeout_s = base_url, tries, timeout_s

    @property
    def embedder_id(self) -> str:
        """`openai:MODEL`, and `@host:port/path` where it is not OpenAI's own server."""
        return self._id

    @property
    def dimension(self) -> int:
        """Length of a vector. Asks for one when there was no reply yet; raises as `embed`."""
        return self._dimension or self.embed(["dimension"]).shape[1]

    def embed(self, texts: Sequence[str]) -> Array:
        """[len(texts), dimension], L2-normalised. Texts that repeat are asked for once.

        Raises `BadInput` when the server refuses the key, the model or a text, `Unreachable` when it does not answer,
        `TransientError` when it stays busy, `PermanentError` for a reply that is not one usable vector per text.
        """
        distinct = list(dict.fromkeys(texts))
        if not distinct:
            return np.empty((0, self.dimension), np.float32)
        parts = [distinct[start : start + TEXTS] for start in range(0, len(distinct), TEXTS)]
        with self._client() as client, ThreadPoolExecutor(AT_ONCE) as pool:
            vectors = np.concatenate(list(pool.map(partial(self._ask, client), parts)))
        row_of = {text: row for row, text in enumerate(distinct)}
        return vectors[[row_of[text] for text in texts]]

    def _client(self) -> openai.OpenAI:
        return openai.OpenAI(
            api_key=self._key or "none",
            base_url=self._base_url,
            max_retries=self._tries - 1,
            timeout=self._timeout_s,
            http_client=openai.DefaultHttpxClient(follow_redirects=False, timeout=self._timeout_s),
        )

    def _ask(self, client: openai.OpenAI, texts: list[str]) -> Array:
        """One request. Numbers as JSON: not every server knows the shorter form."""
        create = client.embeddings.with_raw_response.create
        try:
            reply = _Reply.model_validate_json(create(model=self.model, input=texts, encoding_format="float").text)
        except openai.OpenAIError as error:
            raise self._explained(error) from error
        except ValidationError as error:
            raise self._unusable("something that is no list of embeddings") from error
        rows = {entry.index: entry.embedding for entry in reply.data}
        if sorted(rows) != list(range(len(texts))) or len(reply.data) != len(texts):
            raise self._unusable(f"{len(reply.data)} vectors for {len(texts)} texts")
        lengths = {len(row) for row in rows.values()}
        expected = self._dimension or len(rows[0])
        if lengths != {expected} or not expected:
            raise self._unusable(f"vectors of {sorted(lengths)} numbers, expected {expected}")
        vectors = np.array([rows[i] for i in range(len(texts))], np.float32)
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not np.isfinite(norms).all() or not norms.all():
            raise self._unusable("a vector that is zero or not finite")
        self._dimension = expected
        return vectors / norms

    def _unusable(self, what: str) -> PermanentError:
        return PermanentError(
            f"{self._address} answered with {what} by {self.model!r}; expected one vector per text, all equally long. "
            "Check that this model is an embedding model (NEURON_ATLAS_EMBEDDER)"
        )

    def _explained(self, error: openai.OpenAIError) -> AtlasError:
        """The error in our own words, with what the server said but never the key."""
        said = " ".join(str(error).split())[:300]
        said = said.replace(self._key, "[hidden]") if self._key else said
        if not isinstance(error, openai.APIStatusError):
            if isinstance(error, openai.APIConnectionError):
                return Unreachable(
                    f"{self._address} does not answer ({error.__cause__ or said}); check NEURON_ATLAS_EMBEDDER_BASE_URL"
                )
            return PermanentError(f"{self._address} was not asked: {said}")
        status = error.status_code
        if status in (401, 403):
            return BadInput(
                f"{self._address} refused the key ({status}): {said}. Set NEURON_ATLAS_EMBEDDER_API_KEY or OPENAI_API_KEY"
            )
        if status == 404:
            return BadInput(
                f"{self._address} has no embedding model {self.model!r} (404): {said}. Set NEURON_ATLAS_EMBEDDER or "
                "NEURON_ATLAS_EMBEDDER_BASE_URL"
            )
        if 300 <= status < 400:
            return BadInput(
                f"{self._address} redirects ({status}); redirects are not followed. Set NEURON_ATLAS_EMBEDDER_BASE_URL to the "
                "final address"
            )
        if status in (408, 409, 429) or status >= 500:
            if status == 429 and error.code == "insufficient_quota":
                return PermanentError(f"{self._address} says that the account has no quota left: {said}")
            return TransientError(
                f"{self._address} stays busy ({status}): {said}. What was embedded is kept; run again"
            )
        return BadInput(f"{self._address} refused the texts ({status}): {said}")


def _place(base_url: str) -> str:
    """host:port/path of an address, without user and password."""
    parts = urlsplit(base_url)
    return f"{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"
