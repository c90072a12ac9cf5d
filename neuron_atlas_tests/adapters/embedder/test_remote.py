"""An embedder on a server, against a real server on 127.0.0.1: what is asked, what is paid, what a bad reply means."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from neuron_atlas.adapters.embedder import CachedEmbedder, stored_embedder
from neuron_atlas.adapters.embedder.remote import TEXTS, RemoteEmbedder
from neuron_atlas.errors import AtlasError, BadInput, DamagedData, PermanentError, TransientError, Unreachable

KEY = "sk-canary-0123456789abcdef"
Reply = tuple[int, object]


def length_and_letter(texts: list[str]) -> list[list[float]]:
    """The vectors of this server: a text's length and its first letter's number, from 3 and 4 to (3, 4)."""
    return [[float(len(text)), float(ord(text[0]) - ord("a"))] for text in texts]


def vectors(rows: list[list[float]]) -> Reply:
    """The reply with these vectors, the last one first, as a server may send them."""
    data = [{"object": "embedding", "index": i, "embedding": row} for i, row in enumerate(rows)]
    return 200, {"object": "list", "model": "m", "data": data[::-1], "usage": {"prompt_tokens": 1, "total_tokens": 1}}


class Embeddings(ThreadingHTTPServer):
    """`answer(texts, n)` is the reply to the n-th request."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer: Callable[[list[str], int], Reply] = lambda texts, n: vectors(length_and_letter(texts))
        self.asked: list[dict] = []
        self.keys: set[str] = set()
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    @property
    def texts(self) -> list[str]:
        return [text for body in self.asked for text in body["input"]]

    def embedder(self, *, tries: int = 1) -> RemoteEmbedder:
        return RemoteEmbedder("openai:tiny", api_key=KEY, base_url=self.url, tries=tries, timeout_s=10)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Embeddings

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            assert self.path == "/v1/embeddings"
            self.server.asked.append(body)
            self.server.keys.add(self.headers["Authorization"])
            status, value = self.server.answer(body["input"], len(self.server.asked))
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Location", "http://127.0.0.1:9/v1")
        self.send_header("retry-after-ms", "1")
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def server() -> Iterator[Embeddings]:
    opened = Embeddings()
    thread = threading.Thread(target=opened.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield opened
    opened.shutdown()
    opened.server_close()
    thread.join()


def test_every_text_gets_its_unit_vector_in_order(server: Embeddings) -> None:
    embedded = server.embedder().embed(["eee", "aa", "eee"])
    assert embedded.dtype == np.float32
    assert np.allclose(embedded, [[0.6, 0.8], [1, 0], [0.6, 0.8]])  # (3, 4) and (2, 0), made unit vectors
    assert server.asked == [{"model": "tiny", "input": ["eee", "aa"], "encoding_format": "float"}]
    assert server.keys == {f"Bearer {KEY}"}


def test_many_texts_go_in_batches_and_come_back_in_order(server: Embeddings) -> None:
    texts = [f"{'abc'[k % 3]}{'x' * (k % 7)}{k}" for k in range(2 * TEXTS + 3)]
    embedded = server.embedder().embed(texts)
    expected = np.array(length_and_letter(texts))
    assert np.allclose(embedded, expected / np.linalg.norm(expected, axis=1, keepdims=True))
    assert sorted(len(body["input"]) for body in server.asked) == [3, TEXTS, TEXTS]


def test_the_dimension_is_that_of_the_first_reply(server: Embeddings) -> None:
    embedder = server.embedder()
    assert embedder.dimension == 2
    assert len(server.asked) == 1
    embedder.embed(["a"])
    assert embedder.dimension == 2
    assert server.texts == ["dimension", "a"]


def test_nothing_is_paid_twice(server: Embeddings, tmp_path: Path) -> None:
    def remembered() -> CachedEmbedder:
        return CachedEmbedder(server.embedder(), tmp_path / "vectors.sqlite")

    first = remembered().embed(["bb", "ccc"])
    asked = list(server.asked)
    again = remembered()
    assert again.embed(["ccc", "bb"]).tobytes() == first[::-1].tobytes()
    assert again.dimension == 2
    assert server.asked == asked
    assert server.texts.count("bb") == 1


def test_what_was_paid_before_a_failure_is_kept(
    server: Embeddings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("neuron_atlas.adapters.embedder.vector_cache.BATCH", 2)
    good = server.answer
    server.answer = lambda texts, n: (503, {"error": {"message": "down"}}) if "cc" in texts else good(texts, n)
    texts = ["aa", "bb", "cc"]
    with pytest.raises(TransientError, match="What was embedded is kept; run again"):
        CachedEmbedder(server.embedder(), tmp_path / "v.sqlite").embed(texts)
    server.answer = good
    CachedEmbedder(server.embedder(), tmp_path / "v.sqlite").embed(texts)
    assert [server.texts.count(text) for text in texts] == [1, 1, 2]


def test_a_model_that_became_another_is_refused(server: Embeddings, tmp_path: Path) -> None:
    CachedEmbedder(server.embedder(), tmp_path / "v.sqlite").embed(["aa"])
    server.answer = lambda texts, n: vectors([[1.0, 2.0, 3.0] for _ in texts])
    with pytest.raises(DamagedData, match=r"vectors of 3 numbers; those in .* have 2\. It is another model now"):
        CachedEmbedder(server.embedder(), tmp_path / "v.sqlite").embed(["bb"])


def test_a_busy_server_is_asked_again(server: Embeddings) -> None:
    good = server.answer
    server.answer = lambda texts, n: (429, {"error": {"message": "slow down"}}) if n < 3 else good(texts, n)
    assert server.embedder(tries=3).embed(["a"]).shape == (1, 2)
    assert len(server.asked) == 3


@pytest.mark.parametrize(
    ("reply", "kind", "says"),
    [
        ((401, {"error": {"message": f"bad key {KEY}"}}), BadInput, r"refused the key \(401\).*\[hidden\]"),
        ((404, {"error": {"message": "no such model"}}), BadInput, "has no embedding model 'tiny'"),
        ((400, {"error": {"message": "input too long"}}), BadInput, r"refused the texts \(400\): .*input too long"),
        ((307, {}), BadInput, "redirects are not followed"),
        ((500, {"error": {"message": "oops"}}), TransientError, r"stays busy \(500\)"),
        ((429, {"error": {"message": "pay", "code": "insufficient_quota"}}), PermanentError, "no quota left"),
        (vectors([[1.0, 2.0]]), PermanentError, "1 vectors for 2 texts"),
        (vectors([[1.0, 2.0], [1.0]]), PermanentError, r"vectors of \[1, 2\] numbers"),
        (vectors([[], []]), PermanentError, r"vectors of \[0\] numbers"),
        (vectors([[1.0, 2.0], [0.0, 0.0]]), PermanentError, "a vector that is zero or not finite"),
        ((200, {"object": "list", "model": "m", "data": []}), PermanentError, "0 vectors for 2 texts"),
        ((200, {"data": [{"index": 0, "embedding": "AACAPw=="}]}), PermanentError, "no list of embeddings"),
        ((200, "nonsense"), PermanentError, "no list of embeddings"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_and_the_key_is_not(
    server: Embeddings, reply: Reply, kind: type[AtlasError], says: str
) -> None:
    server.answer = lambda texts, n: reply
    with pytest.raises(kind, match=says) as error:
        server.embedder().embed(["a", "b"])
    assert KEY not in str(error.value)


def test_a_server_that_is_not_there() -> None:
    with pytest.raises(Unreachable, match=r"http://127\.0\.0\.1:9/v1 does not answer") as error:
        RemoteEmbedder("openai:m", api_key="", base_url="http://me:secret@127.0.0.1:9/v1", tries=1).embed(["a"])
    assert "secret" not in str(error.value)


def test_vectors_name_the_model_and_its_server() -> None:
    there = RemoteEmbedder("openai:m", api_key="", base_url="http://me:secret@host:8000/v1/")
    assert there.embedder_id == "openai:m@host:8000/v1"
    assert RemoteEmbedder("openai:text-embedding-3-small", api_key=KEY).embedder_id == "openai:text-embedding-3-small"
    assert KEY not in repr(there)


def test_what_cannot_be_asked_is_refused_at_once() -> None:
    with pytest.raises(BadInput, match="names no model"):
        RemoteEmbedder("openai:", api_key=KEY)
    with pytest.raises(BadInput, match="needs a key: set OPENAI_API_KEY"):
        RemoteEmbedder("openai:m", api_key="")
    with pytest.raises(BadInput, match="embedded by a server"):
        stored_embedder("openai:m@host:8000/v1")
