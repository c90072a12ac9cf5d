"""The same requests as Batch API jobs: cheaper, slower, and safe to interrupt.

`ask` sends what the ledger does not hold as one batch (several only where the server's limits require it), waits, and collects the
answers. A batch is in the ledger from the moment it is accepted, so another process collects what this one sent. However a batch
ends (completed, expired, cancelled, failed; with an output file, an error file, both or none), the answers there are taken and only
the missing ones are requested again.

A process may be killed between the server's acceptance and the note in the ledger. So a batch carries the hash of its requests as
metadata, and the server's batches are searched for that hash before one is sent.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar, Unpack

import openai
from openai.types import Batch
from openai.types.chat import ChatCompletion
from pydantic import BaseModel, ValidationError

from neuron_atlas.adapters.language_model.cooldown import Cooldown, read_duration
from neuron_atlas.adapters.language_model.dialect import Dialect
from neuron_atlas.adapters.language_model.ledger import Answer, Ledger
from neuron_atlas.adapters.language_model.ledger_client import ClientOptions, LedgerClient
from neuron_atlas.adapters.language_model.read_completion import (
    REPEATABLE,
    NotAnAnswer,
    failure_reason,
    fatal,
    lower_keys,
    read_completion,
    short,
)
from neuron_atlas.adapters.language_model.redaction import redacted
from neuron_atlas.adapters.language_model.server_settings import Server, guessed_tokens
from neuron_atlas.core.hashing import content_hash
from neuron_atlas.core.llm_requests import LlmRequest, NoReply, Reply
from neuron_atlas.errors import BadInput, Unreachable

T = TypeVar("T")
MAX_REQUESTS = 50_000
MAX_BYTES = 180_000_000
"""Of one batch file; the published limits are 50,000 requests and 200 MB."""
SENDS = 4
"""How often a request is put into a batch before it counts as failed."""
_ENDED = frozenset({"completed", "expired", "cancelled", "failed"})
_MARK = "neuron_atlas"
_LONGEST_POLL = 20
"""Times `poll_s`."""


class _Response(BaseModel):
    status_code: int
    body: dict[str, object] | None = None


class _Line(BaseModel):
    custom_id: str
    response: _Response | None = None
    error: dict[str, object] | None = None


class OpenAIBatchModel(LedgerClient):
    """Fulfils `LanguageModel`. `options` as for `LedgerClient`; `pause` waits so many seconds."""

    def __init__(
        self,
        server: Server,
        ledger: Ledger,
        *,
        pause: Callable[[float], None] = time.sleep,
        **options: Unpack[ClientOptions],
    ) -> None:
        super().__init__(server, ledger, **options)
        self._pause = pause
        self._cooldown = Cooldown(self.retry_policy)
        self._last_end = "was not sent"

    def ask(self, requests: Sequence[LlmRequest]) -> Iterator[Reply | NoReply]:
        """One answer per request, in order, after the last batch has ended. Raises as `OpenAIModel.ask`."""
        keys = [request.key(self.server.address) for request in requests]
        wanted = dict(zip(keys, requests, strict=True))
        answers = self.answers_from_ledger(keys)
        missing = {key: request for key, request in wanted.items() if key not in answers}
        if missing:
            with openai.OpenAI(
                api_key=self.server.api_key,
                base_url=self.server.base_url,
                max_retries=0,
                timeout=self.retry_policy.timeout_s,
                http_client=openai.DefaultHttpxClient(follow_redirects=False, timeout=self.retry_policy.timeout_s),
            ) as client:
                answers |= self._answers(client, missing)
        for key in keys:
            yield answers[key]

    def _answers(self, client: openai.OpenAI, missing: Mapping[str, LlmRequest]) -> dict[str, Reply | NoReply]:
        """Collect what was sent before, then send and collect until nothing is missing."""
        answers = self._collect_all(client, missing)
        for send in range(SENDS):
            left = {key: request for key, request in missing.items() if key not in answers}
            if not left:
                return answers
            self._send(client, left, send, answers)
            answers |= self._collect_all(client, missing)
            self.spending = replace(
                self.spending, retries=self.spending.retries + sum(key not in answers for key in missing)
            )
        reason = f"no answer in {SENDS} batches; the last {self._last_end}"
        return {key: NoReply("failed", reason) for key in missing} | answers

    def _send(
        self, client: openai.OpenAI, requests: Mapping[str, LlmRequest], send: int, answers: dict[str, Reply | NoReply]
    ) -> None:
        """Send the requests that the budget allows; the others are answered by saying so."""
        worst = [(key, self.most_usd(request)) for key, request in requests.items()]
        calls = self.ledger.begin_many(worst, self.server.address, limit_usd=self.limit_usd)
        begun: dict[str, int] = {}
        for key, call in zip(requests, calls, strict=True):
            if call is None:
                answers[key] = self.over_budget()
            else:
                begun[key] = call
        lines = {key: self._line(key, requests[key]) for key in begun}
        for part in _parts(lines):
            mark = content_hash([sorted(part), send])
            try:
                batch = self._create(client, [lines[key] for key in part], mark)
            except openai.NotFoundError as error:
                raise BadInput(
                    "the server has no Batch API (404); set NEURON_ATLAS_LABELER=openai to send one request at a time"
                ) from error
            self.ledger.add_batch(batch.id, self.server.address, {key: begun[key] for key in part})

    def _line(self, key: str, request: LlmRequest) -> bytes:
        body = Dialect().body(request, self.server.model)
        line = {"custom_id": key, "method": "POST", "url": "/v1/chat/completions", "body": body}
        return json.dumps(line).encode() + b"\n"

    def _find(self, client: openai.OpenAI, mark: str) -> Batch | None:
        """A batch with this mark that the server accepted but that is not in the ledger."""
        listed = self._with_retries(lambda: client.batches.list(limit=100).data)
        for batch in listed:
            if (batch.metadata or {}).get(_MARK) == mark and not self.ledger.has_batch(batch.id):
                return batch
        return None

    def _create(self, client: openai.OpenAI, lines: Sequence[bytes], mark: str) -> Batch:
        def create() -> Batch:
            if (found := self._find(client, mark)) is not None:
                return found
            uploaded = client.files.create(file=("requests.jsonl", b"".join(lines)), purpose="batch")
            return client.batches.create(
                input_file_id=uploaded.id,
                endpoint="/v1/chat/completions",
                completion_window="24h",
                metadata={_MARK: mark},
            )

        return self._with_retries(create)

    def _collect_all(self, client: openai.OpenAI, wanted: Mapping[str, LlmRequest]) -> dict[str, Reply | NoReply]:
        """Wait for every open batch that holds a wanted request, and take what came back."""
        answers: dict[str, Reply | NoReply] = {}
        for batch_id, calls in self.ledger.open_batches(self.server.address).items():
            if not calls.keys() & wanted.keys():
                continue
            batch = self._ended(client, batch_id)
            found = self._outcomes(client, batch, wanted) if batch is not None else {}
            self._settle(found, calls, answers)
            self.ledger.abandon([call for key, call in calls.items() if key not in found], may_cost=False)
            self.ledger.close_batch(batch_id)
        return answers

    def _settle(
        self, found: Mapping[str, Answer], calls: Mapping[str, int], answers: dict[str, Reply | NoReply]
    ) -> None:
        ended: list[tuple[int, Answer, float | None]] = []
        for key, answer in found.items():
            if key not in calls:
                continue
            cost = self.cost(answer)
            ended.append((calls[key], answer, cost))
            answers[key] = answer.value(cost)
        self.ledger.end_many(ended)
        self.count((answer, cost) for _, answer, cost in ended)

    def _ended(self, client: openai.OpenAI, batch_id: str) -> Batch | None:
        """The batch once it has ended; None when the server no longer has it."""
        n_polls = 0
        while True:
            try:
                batch = self._with_retries(lambda: client.batches.retrieve(batch_id))
            except openai.NotFoundError:
                return None
            if batch.status in _ENDED:
                said = [e.message or "" for e in (batch.errors.data or [])] if batch.errors is not None else []
                self._last_end = short(f"ended as {batch.status} {'; '.join(said)}")
                return batch
            n_polls += 1
            self._pause(self.retry_policy.poll_s * min(_LONGEST_POLL, 1.5 ** min(n_polls, 20)))

    def _outcomes(self, client: openai.OpenAI, batch: Batch, wanted: Mapping[str, LlmRequest]) -> dict[str, Answer]:
        """What the output and error files hold, as far as it settles a request."""
        found: dict[str, Answer] = {}
        for file_id in (batch.output_file_id, batch.error_file_id):
            if file_id is None:
                continue
            try:
                text = self._with_retries(lambda file_id=file_id: client.files.content(file_id).text)
            except openai.NotFoundError:
                continue
            for line in text.splitlines():
                read = _read_line(line, wanted)
                if read is not None:
                    found.setdefault(*read)
        return found

    def _with_retries(self, work: Callable[[], T]) -> T:
        """Do `work`, again after a pause where the failure may be temporary. Raises what is fatal, and `Unreachable` in the end."""
        last_error = ""
        for attempt in range(1, self.retry_policy.tries + 1):
            try:
                return work()
            except openai.NotFoundError:
                raise
            except openai.APIStatusError as error:
                if (ending := fatal(error, self.server)) is not None:
                    raise ending from error
                last_error = failure_reason(error, self.server)
                if error.status_code < 500 and error.status_code not in REPEATABLE:
                    raise Unreachable(f"the batch server refuses: {last_error}") from error
                asked = read_duration(lower_keys(error.response.headers).get("retry-after", ""))
                own = self._cooldown.pause(attempt)
                self._pause(min(asked, self.retry_policy.longest_wait_s) if asked is not None else own)
            except (openai.APIError, ValueError) as error:
                last_error = short(redacted(str(error), self.server.api_key)) or type(error).__name__
                self._pause(self._cooldown.pause(attempt))
        raise Unreachable(
            f"the batch server does not answer ({last_error}). Run again: the answers to what was sent are collected then."
        )


def _read_line(line: str, wanted: Mapping[str, LlmRequest]) -> tuple[str, Answer] | None:
    """(key, answer) of one line of an output or error file; None for what must be asked again."""
    try:
        read = _Line.model_validate_json(line)
        if read.custom_id not in wanted or read.response is None or read.response.body is None:
            return None
        if read.response.status_code != 200:
            is_final = read.response.status_code < 500 and read.response.status_code not in REPEATABLE
            reason = f"status {read.response.status_code}: {short(json.dumps(read.response.body))}"
            return (read.custom_id, Answer("failed", reason, 0, 0)) if is_final else None
        completion = ChatCompletion.model_validate(read.response.body)
        return read.custom_id, read_completion(completion, guessed_prompt=guessed_tokens(wanted[read.custom_id]))
    except (ValidationError, NotAnAnswer):
        return None


def _parts(lines: Mapping[str, bytes]) -> Iterator[list[str]]:
    """The keys, cut where a batch would become too large."""
    part: list[str] = []
    size = 0
    for key, line in lines.items():
        if part and (len(part) == MAX_REQUESTS or size + len(line) > MAX_BYTES):
            yield part
            part, size = [], 0
        part.append(key)
        size += len(line)
    if part:
        yield part
