"""The same requests as Batch API jobs: cheaper, slower, and made to be interrupted.

`ask` sends what the ledger does not know as one batch (more only where the server's limits ask for it), waits, and harvests. A
batch belongs to the ledger from the moment it is accepted, so another process harvests what this one sent. Whatever a batch's
end (completed, expired, cancelled, failed; with an output file, an error file, both or none), what is there is taken and only
what is missing is sent again.

Between a server's "accepted" and our note of it lies an instant: a batch carries the hash of its requests as metadata, and is
looked for under that hash before it is sent.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import openai
from openai.types import Batch
from openai.types.chat import ChatCompletion
from pydantic import BaseModel, ValidationError

from neuron_atlas.adapters.language_model.answers import (
    REPEATABLE,
    NotAnAnswer,
    failure_reason,
    fatal,
    lower_keys,
    read_completion,
    short,
)
from neuron_atlas.adapters.language_model.cooldown import Cooldown, read_duration
from neuron_atlas.adapters.language_model.dialect import Dialect
from neuron_atlas.adapters.language_model.ledger import Answer, Ledger, Spending
from neuron_atlas.adapters.language_model.redaction import redacted
from neuron_atlas.adapters.language_model.server import Patience, Prices, Server, guessed_tokens
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


class OpenAIBatchModel:
    """Fulfils `LanguageModel`. The arguments are those of `OpenAIModel`; `progress` gets (requests done, requests)."""

    def __init__(
        self,
        server: Server,
        ledger: Ledger,
        *,
        patience: Patience | None = None,
        prices: Prices | None = None,
        limit_usd: float | None = None,
        retry_unanswered: bool = False,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.server = server
        self.ledger = ledger
        self.patience = patience or Patience()
        self.prices = prices
        self.limit_usd = limit_usd
        self.retry_unanswered = retry_unanswered
        self.spending = Spending()
        self._pause = pause
        self._cooldown = Cooldown(self.patience)
        self._last_end = "was not sent"

    @property
    def name(self) -> str:
        """The model's name."""
        return self.server.model

    def ask(self, requests: Sequence[LlmRequest]) -> Iterator[Reply | NoReply]:
        """One answer per request, in order, after the last batch has ended. Raises as `OpenAIModel.ask`."""
        keys = [request.key(self.server.address) for request in requests]
        wanted = dict(zip(keys, requests, strict=True))
        known = self.ledger.remembered(wanted, dead=not self.retry_unanswered)
        self.spending = replace(self.spending, remembered=self.spending.remembered + sum(key in known for key in keys))
        missing = {key: request for key, request in wanted.items() if key not in known}
        answers: dict[str, Reply | NoReply] = dict(known)
        if missing:
            with openai.OpenAI(
                api_key=self.server.api_key,
                base_url=self.server.base_url,
                max_retries=0,
                timeout=self.patience.timeout_s,
                http_client=openai.DefaultHttpxClient(follow_redirects=False, timeout=self.patience.timeout_s),
            ) as client:
                answers |= self._answers(client, missing)
        for key in keys:
            yield answers[key]

    def _answers(self, client: openai.OpenAI, missing: Mapping[str, LlmRequest]) -> dict[str, Reply | NoReply]:
        """Harvest what was sent before, then send and harvest until nothing is missing."""
        answers = self._harvest_all(client, missing)
        for send in range(SENDS):
            left = {key: request for key, request in missing.items() if key not in answers}
            if not left:
                return answers
            self._send(client, left, send, answers)
            answers |= self._harvest_all(client, missing)
            self.spending = replace(
                self.spending, retries=self.spending.retries + sum(key not in answers for key in missing)
            )
        reason = f"no answer in {SENDS} batches; the last {self._last_end}"
        return {key: NoReply("failed", reason) for key in missing} | answers

    def _send(
        self, client: openai.OpenAI, requests: Mapping[str, LlmRequest], send: int, answers: dict[str, Reply | NoReply]
    ) -> None:
        """Send the requests that the budget allows; the others are answered by saying so."""
        worst = [(key, self.prices.worst(r) if self.prices is not None else 0.0) for key, r in requests.items()]
        calls = self.ledger.begin_many(worst, self.server.address, limit_usd=self.limit_usd)
        begun: dict[str, int] = {}
        for key, call in zip(requests, calls, strict=True):
            if call is None:
                answers[key] = NoReply("budget", f"spending reached its limit of ${self.limit_usd:.2f}")
            else:
                begun[key] = call
        lines = {key: self._line(key, requests[key]) for key in begun}
        for part in _parts(lines):
            mark = content_hash([sorted(part), send])
            try:
                batch = self._create(client, [lines[key] for key in part], mark)
            except openai.NotFoundError as error:
                raise BadInput(
                    "the server has no Batch API (404); set NEURON_ATLAS_LABELER=openai to ask it request by request"
                ) from error
            self.ledger.add_batch(batch.id, self.server.address, {key: begun[key] for key in part})

    def _line(self, key: str, request: LlmRequest) -> bytes:
        body = Dialect().body(request, self.server.model)
        line = {"custom_id": key, "method": "POST", "url": "/v1/chat/completions", "body": body}
        return json.dumps(line).encode() + b"\n"

    def _find(self, client: openai.OpenAI, mark: str) -> Batch | None:
        """A batch with this mark that the server accepted and we have no note of."""
        listed = self._patiently(lambda: client.batches.list(limit=100).data)
        for batch in listed:
            if (batch.metadata or {}).get(_MARK) == mark and not self.ledger.knows_batch(batch.id):
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

        return self._patiently(create)

    def _harvest_all(self, client: openai.OpenAI, wanted: Mapping[str, LlmRequest]) -> dict[str, Reply | NoReply]:
        """Wait for every open batch that holds a wanted request, and take what came back."""
        answers: dict[str, Reply | NoReply] = {}
        for batch_id, calls in self.ledger.open_batches(self.server.address).items():
            if not calls.keys() & wanted.keys():
                continue
            batch = self._ended(client, batch_id)
            found = self._outcomes(client, batch, wanted) if batch is not None else {}
            self._settle(found, calls, answers)
            self.ledger.abandon([call for key, call in calls.items() if key not in found], may_cost=False)
            self.ledger.harvested(batch_id)
        return answers

    def _settle(
        self, found: Mapping[str, Answer], calls: Mapping[str, int], answers: dict[str, Reply | NoReply]
    ) -> None:
        ended: list[tuple[int, Answer, float | None]] = []
        for key, answer in found.items():
            if key not in calls:
                continue
            cost = self.prices.cost(answer.prompt_tokens, answer.completion_tokens) if self.prices is not None else None
            ended.append((calls[key], answer, cost))
            answers[key] = answer.value(cost)
        self.ledger.end_many(ended)
        self.spending = replace(
            self.spending,
            calls=self.spending.calls + len(ended),
            prompt_tokens=self.spending.prompt_tokens + sum(answer.prompt_tokens for _, answer, _ in ended),
            completion_tokens=self.spending.completion_tokens + sum(answer.completion_tokens for _, answer, _ in ended),
            cost_usd=self.spending.cost_usd + sum(cost or 0.0 for _, _, cost in ended),
        )

    def _ended(self, client: openai.OpenAI, batch_id: str) -> Batch | None:
        """The batch once it has ended; None when the server knows it no more."""
        looks = 0
        while True:
            try:
                batch = self._patiently(lambda: client.batches.retrieve(batch_id))
            except openai.NotFoundError:
                return None
            if batch.status in _ENDED:
                said = [e.message or "" for e in (batch.errors.data or [])] if batch.errors is not None else []
                self._last_end = short(f"ended as {batch.status} {'; '.join(said)}")
                return batch
            looks += 1
            self._pause(self.patience.poll_s * min(_LONGEST_POLL, 1.5 ** min(looks, 20)))

    def _outcomes(self, client: openai.OpenAI, batch: Batch, wanted: Mapping[str, LlmRequest]) -> dict[str, Answer]:
        """What the output and error files hold, as far as it settles a request."""
        found: dict[str, Answer] = {}
        for file_id in (batch.output_file_id, batch.error_file_id):
            if file_id is None:
                continue
            try:
                text = self._patiently(lambda file_id=file_id: client.files.content(file_id).text)
            except openai.NotFoundError:
                continue
            for line in text.splitlines():
                read = _read_line(line, wanted)
                if read is not None:
                    found.setdefault(*read)
        return found

    def _patiently(self, work: Callable[[], T]) -> T:
        """Do it, again after a pause where that may help. Raises what is fatal, or `Unreachable` at last."""
        trouble = ""
        for attempt in range(1, self.patience.tries + 1):
            try:
                return work()
            except openai.NotFoundError:
                raise
            except openai.APIStatusError as error:
                if (ending := fatal(error, self.server)) is not None:
                    raise ending from error
                trouble = failure_reason(error, self.server)
                if error.status_code < 500 and error.status_code not in REPEATABLE:
                    raise Unreachable(f"the batch server refuses: {trouble}") from error
                asked = read_duration(lower_keys(error.response.headers).get("retry-after", ""))
                own = self._cooldown.pause(attempt)
                self._pause(min(asked, self.patience.longest_wait_s) if asked is not None else own)
            except (openai.APIError, ValueError) as error:
                trouble = short(redacted(str(error), self.server.api_key)) or type(error).__name__
                self._pause(self._cooldown.pause(attempt))
        raise Unreachable(f"the batch server does not answer ({trouble}). Run again: what was sent is harvested then.")


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
