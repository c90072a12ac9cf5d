"""A real OpenAI-compatible server on 127.0.0.1 that misbehaves by seed, and keeps the books of what it was paid for.

What befalls a request follows from the seed, the request's text and how often it came: the same whatever the order.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from neuron_atlas.adapters.language_model import Ledger, RetryPolicy, Server
from neuron_atlas.core.llm_requests import LlmRequest, Message

KEY = "sk-canary-0123456789abcdef"
FAULTS = {
    "429": 0.05,
    "500": 0.02,
    "hang": 0.01,
    "half": 0.005,
    "garbage": 0.005,
    "refusal": 0.005,
    "truncation": 0.005,
}
"""Kind of fault to its share; `half` breaks the HTTP body off, `garbage` is a good reply whose text is broken JSON."""
PAID = ("garbage", "refusal", "truncation")
"""Faults of the answer alone: the tokens were used, and are charged."""
QUICK = RetryPolicy(tries=8, timeout_s=60.0, first_pause_s=0.002, longest_pause_s=0.02, grace_s=60.0, poll_s=0.0)
"""Short pauses, and time-outs that only what hangs for ever meets, however busy the machine."""


def asks(n: int, *, start: int = 0) -> list[LlmRequest]:
    """`n` requests that differ in their number."""
    schema = {
        "type": "object",
        "properties": {"n": {"type": "integer"}},
        "required": ["n"],
        "additionalProperties": False,
    }
    return [
        LlmRequest((Message("system", "Say the number."), Message("user", f"number {k}")), schema)
        for k in range(start, start + n)
    ]


@dataclass
class Books:
    """What the server saw. `paid` counts what was charged, by request; `seen` all requests; `most` were handled at once."""

    seen: Counter[str] = field(default_factory=Counter)
    paid: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    bodies: list[dict] = field(default_factory=list)
    headers: list[dict] = field(default_factory=list)
    now: int = 0
    most: int = 0


class FaultyServer(ThreadingHTTPServer):
    """`faults` maps a kind to its share; `complaint(body)` may refuse a request with status 400; `answer(body)` writes the text;
    `ends` says how the next batches end."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.seed = 0
        self.faults: dict[str, float] = {}
        self.limit_headers: dict[str, str] = {"Retry-After": "0.01"}
        self.complaint: Callable[[dict], str | None] = lambda body: None
        self.answer: Callable[[dict], str] = say_the_number
        self.status: tuple[int, str] | None = None
        self.usage = (100, 20)
        self.books = Books()
        self.lock = threading.Lock()
        self.over = threading.Event()
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict] = {}
        self.ends: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def fate(self, body: dict) -> tuple[str, str]:
        """(request's name, what befalls it this time)."""
        name = hashlib.sha256(json.dumps(body["messages"]).encode()).hexdigest()[:12] + str(body.get("seed", ""))
        with self.lock:
            self.books.seen[name] += 1
            self.books.bodies.append(body)
            draw = random.Random(f"{self.seed} {name} {self.books.seen[name]}").random()
            for fault, share in self.faults.items():
                if draw < share:
                    self.books.faults[fault] += 1
                    self.books.paid[name] += fault in PAID
                    return name, fault
                draw -= share
            self.books.paid[name] += 1
        return name, "answer"

    def completion(self, body: dict, fate: str) -> dict:
        message: dict = {"role": "assistant", "content": self.answer(body)}
        finish = "stop"
        if fate == "garbage":
            message["content"] = '{"n": '
        elif fate == "refusal":
            message = {"role": "assistant", "content": None, "refusal": "I would rather not."}
        elif fate == "truncation":
            message["content"], finish = '{"n"', "length"
        prompt, completion = self.usage
        return {
            "id": "c", "object": "chat.completion", "created": 0, "model": body["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": finish}],
            "usage": {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion},
        }  # fmt: skip

    def run_batch(self, batch: dict) -> None:
        """Let a batch end as planned: completed | half-expired | cancelled | no-output | failed."""
        end = self.ends.pop(0) if self.ends else "completed"
        lines = [json.loads(line) for line in self.files[batch["input_file_id"]].splitlines()]
        if end == "failed":
            batch |= {
                "status": "failed",
                "errors": {"object": "list", "data": [{"code": "x", "message": "queue full"}]},
            }
            return
        done = {"completed": lines, "half-expired": lines[::2], "cancelled": lines[:1], "no-output": []}[end]
        batch["status"] = {"half-expired": "expired", "no-output": "completed"}.get(end, end)
        if end == "no-output":
            return
        out, errors = [], []
        for line in lines:
            if line in done:
                _, fate = self.fate(line["body"])
                if fate == "429":
                    response = {"status_code": 429, "request_id": "r", "body": {"error": {"message": "busy"}}}
                    errors.append({"id": "x", "custom_id": line["custom_id"], "response": response, "error": None})
                else:
                    response = {"status_code": 200, "request_id": "r", "body": self.completion(line["body"], fate)}
                    out.append({"id": "x", "custom_id": line["custom_id"], "response": response, "error": None})
            elif end == "half-expired":
                error = {"code": "batch_expired", "message": "too late"}
                errors.append({"id": "x", "custom_id": line["custom_id"], "response": None, "error": error})
        for name, rows in (("output_file_id", out), ("error_file_id", errors)):
            if rows:
                batch[name] = self.keep(b"\n".join(json.dumps(row).encode() for row in rows))

    def keep(self, content: bytes) -> str:
        name = f"file-{len(self.files)}"
        self.files[name] = content
        return name


def say_the_number(body: dict) -> str:
    return json.dumps({"n": int(body["messages"][-1]["content"].split()[-1])})


def label_of(body: dict) -> str:
    """A reply in the format of labels: named after the neuron it is asked for."""
    none = {"hypothesis": "none", "contradicted_by": "none"}
    return json.dumps(
        {"specific": none, "medium": none, "general": none, "is_interpretable": True, "reason": "", "tokens": [],
         "label": f"the label of {neuron_of(body)}", "description": "As shown.", "type": "semantic", "confidence": 0.5,
         "direction": "rises"}
    )  # fmt: skip


def neuron_of(body: dict) -> str:
    named = re.search(r"L\d+/N\d+[+-]", body["messages"][-1]["content"])
    assert named is not None
    return named[0]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FaultyServer

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        path = self.path.partition("?")[0].removeprefix("/v1")
        server = self.server
        if path == "/batches":
            data = sorted(server.batches.values(), key=lambda b: b["id"], reverse=True)
            self._json(200, {"object": "list", "data": data, "has_more": False})
        elif path.startswith("/batches/") and path.split("/")[2] in server.batches:
            batch = server.batches[path.split("/")[2]]
            if batch["status"] == "in_progress":
                server.run_batch(batch)
            elif batch["status"] == "validating":
                batch["status"] = "in_progress"
            self._json(200, batch)
        elif path.endswith("/content") and path.split("/")[2] in server.files:
            self._bytes(200, server.files[path.split("/")[2]])
        else:
            self._json(404, {"error": {"message": f"no {path}"}})

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        if len(raw) < int(self.headers["Content-Length"]):  # the client died in the middle
            self.close_connection = True
            return
        server, path = self.server, self.path.removeprefix("/v1")
        with server.lock:
            server.books.headers.append(dict(self.headers))
        if server.status is not None:
            status, said = server.status
            self._json(status, {"error": {"message": said, "code": said}}, {"Location": "http://127.0.0.1:9/v1"})
        elif path == "/files":
            boundary = re.search(r"boundary=(.+)", self.headers["Content-Type"])[1].encode()
            part = next(p for p in raw.split(b"--" + boundary) if b'name="file"' in p)
            self._json(200, {"id": server.keep(part.partition(b"\r\n\r\n")[2].rstrip(b"\r\n")), "object": "file", "bytes": 1,
                             "created_at": 0, "filename": "f", "purpose": "batch", "status": "processed"})  # fmt: skip
        elif path == "/batches":
            given = json.loads(raw)
            name = f"batch-{len(server.batches):04d}"
            server.batches[name] = {
                "id": name, "object": "batch", "endpoint": given["endpoint"], "input_file_id": given["input_file_id"],
                "completion_window": "24h", "status": "validating", "created_at": 0, "metadata": given.get("metadata"),
            }  # fmt: skip
            self._json(200, server.batches[name])
        elif path == "/chat/completions":
            with server.lock:
                server.books.now += 1
                server.books.most = max(server.books.most, server.books.now)
            self._complete(json.loads(raw))
        else:
            self._json(404, {"error": {"message": f"no {path}"}})

    def _complete(self, body: dict) -> None:
        """Answer one request; it is booked out just before its answer leaves, so that the next may come at once."""
        server = self.server
        said = server.complaint(body)
        fate = "400" if said is not None else server.fate(body)[1]
        answer = {} if fate in ("400", "429", "500", "hang", "half") else server.completion(body, fate)
        with server.lock:
            server.books.now -= 1
        if fate == "400":
            self._json(400, {"error": {"message": said}})
        elif fate == "429":
            self._json(429, {"error": {"message": "slow down"}}, server.limit_headers)
        elif fate == "500":
            self._json(503, {"error": {"message": "down for a moment"}})
        elif fate == "hang":
            server.over.wait(60)
            self.close_connection = True
        elif fate == "half":
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", "500")
            self.end_headers()
            self.wfile.write(b'{"id": "c", "choices": [{"mess')
            self.close_connection = True
        else:
            self._json(200, answer)

    def _json(self, status: int, value: object, headers: dict[str, str] | None = None) -> None:
        self._bytes(status, json.dumps(value).encode(), headers)

    def _bytes(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def handle(self) -> None:
        try:
            super().handle()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True


@contextmanager
def running_server() -> Iterator[FaultyServer]:
    """The server, answering."""
    server = FaultyServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.over.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def faulty() -> Iterator[FaultyServer]:
    with running_server() as server:
        yield server


@pytest.fixture
def at(faulty: FaultyServer) -> Server:
    return Server("tiny", KEY, faulty.url)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger(tmp_path / "ledger.sqlite")
    yield opened
    opened.close()
