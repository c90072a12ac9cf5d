"""Many requests at once to an OpenAI-compatible server, through the `openai` client.

The client's own retries are off, so that every call is counted here: a call is written into the ledger before it is sent and
closed when it came back. Only temporary failures are retried (429, 5xx, a lost connection, a time-out, an unreadable reply),
with growing jittered pauses and one cooldown for all. The event loop runs in a thread of its own; answers come out in order.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Protocol, Unpack, cast

import openai
from openai.types.chat import ChatCompletion

from neuron_atlas.adapters.language_model.cooldown import Cooldown
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
from neuron_atlas.core.llm_requests import LlmRequest, NoReply, Reply

Outcome = Reply | NoReply
_OPENAI_DIALECT, _OTHER_DIALECT = Dialect(), Dialect(limit="max_tokens")


class OpenAIModel(LedgerClient):
    """Fulfils `LanguageModel`. At most `concurrency` requests are under way; `options` as for `LedgerClient`."""

    def __init__(
        self,
        server: Server,
        ledger: Ledger,
        *,
        concurrency: int = 16,
        **options: Unpack[ClientOptions],
    ) -> None:
        super().__init__(server, ledger, **options)
        self.concurrency = concurrency
        self.dialect = _OPENAI_DIALECT if server.base_url is None else _OTHER_DIALECT

    def ask(self, requests: Sequence[LlmRequest]) -> Iterator[Outcome]:
        """One answer per request, in order, as soon as it and those before it are there.

        Raises `BadInput` when the server refuses the key or does not know the model, `PermanentError` when the account has no
        credit left.
        """
        keys = [request.key(self.server.address) for request in requests]
        answered = self.answers_from_ledger(keys)
        fresh = {key: request for key, request in zip(keys, requests, strict=True) if key not in answered}
        with _running(self, fresh) as answers:
            for key in keys:
                yield answered[key] if key in answered else answers[key].result()


class _Raw(Protocol):
    """A reply with its headers, as far as it is used here."""

    @property
    def headers(self) -> Mapping[str, str]: ...

    def parse(self) -> ChatCompletion: ...


@dataclass
class _PendingRequests:
    """The requests of one `ask`, while they are under way."""

    model: OpenAIModel
    waiting: deque[tuple[str, LlmRequest]]
    answers: Mapping[str, Future[Outcome]]
    cooldown: Cooldown
    settled: asyncio.Condition = field(default_factory=asyncio.Condition)
    under_way: int = 0
    is_closing: bool = False
    is_budget_spent: bool = False
    task: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Ask everything; ends when all is answered, or with the first error that concerns every request."""
        self.task = asyncio.current_task()
        server, retry_policy = self.model.server, self.model.retry_policy
        transport = openai.DefaultAsyncHttpxClient(follow_redirects=False, timeout=retry_policy.timeout_s)
        async with openai.AsyncOpenAI(
            api_key=server.api_key,
            base_url=server.base_url,
            max_retries=0,
            timeout=retry_policy.timeout_s,
            http_client=transport,
        ) as client:
            workers = min(self.model.concurrency, len(self.waiting))
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(workers):
                        group.create_task(self._work(client))
            except ExceptionGroup as several:
                raise several.exceptions[0] from several

    async def _work(self, client: openai.AsyncOpenAI) -> None:
        while self.waiting and not self.is_closing:
            key, request = self.waiting.popleft()
            answer = await self._answer(client, key, request)
            self.answers[key].set_result(answer)

    async def _answer(self, client: openai.AsyncOpenAI, key: str, request: LlmRequest) -> Outcome:
        """One request, until it is answered, refused for good, or tried often enough."""
        last_error, attempt = "never sent", 0
        while attempt < self.model.retry_policy.tries:
            attempt += 1
            await self.cooldown.wait()
            call = await self._begin(key, request)
            if call is None:
                return self.model.over_budget()
            try:
                answer = await self._send(client, request)
            except openai.APIStatusError as error:
                await self._end(call, None, may_cost=False)
                if (ending := fatal(error, self.model.server)) is not None:
                    raise ending from error
                headers = lower_keys(error.response.headers)
                last_error = failure_reason(error, self.model.server)
                if error.status_code == 429:
                    self.cooldown.too_many_requests(headers, attempt)
                elif error.status_code >= 500 or error.status_code in REPEATABLE:
                    await asyncio.sleep(self.cooldown.pause(attempt))
                elif self._simplify(error, request):
                    attempt -= 1
                else:
                    return await self._give_up(key, request, last_error)
            except (openai.APIError, NotAnAnswer, ValueError, TimeoutError) as error:
                lost = isinstance(error, TimeoutError | openai.APITimeoutError)
                await self._end(call, None, may_cost=lost)
                said = "no answer in time" if lost else short(redacted(str(error), self.model.server.api_key))
                last_error = said or type(error).__name__
                await asyncio.sleep(self.cooldown.pause(attempt))
            except BaseException:
                await self._end(call, None, may_cost=True)
                raise
            else:
                return await self._end(call, answer, may_cost=True)
            self.model.spending = replace(self.model.spending, retries=self.model.spending.retries + 1)
        return NoReply("failed", f"no answer after {attempt} tries; the last: {last_error}")

    async def _send(self, client: openai.AsyncOpenAI, request: LlmRequest) -> Answer:
        body = self.model.dialect.body(request, self.model.server.model)
        async with asyncio.timeout(self.model.retry_policy.timeout_s):
            raw = cast(_Raw, await client.chat.completions.with_raw_response.create(**body))  # pyright: ignore[reportCallIssue, reportArgumentType]: a body by dialect
            self.cooldown.read_limits(lower_keys(raw.headers))
            return read_completion(raw.parse(), guessed_prompt=guessed_tokens(request))

    def _simplify(self, error: openai.APIStatusError, request: LlmRequest) -> bool:
        """Whether the refusal is about how the request was written, and there is a simpler way."""
        if error.status_code not in (400, 422, 501):
            return False
        simpler = self.model.dialect.simpler(str(error))
        if simpler is None:
            return False
        self.model.dialect = simpler
        return True

    async def _begin(self, key: str, request: LlmRequest) -> int | None:
        """Write the call down. Where it could exceed the budget, first wait for calls under way: they may cost less than feared."""
        model = self.model
        worst = model.most_usd(request)
        async with self.settled:
            while True:
                if self.is_budget_spent:
                    return None
                call = model.ledger.begin(key, model.server.address, worst_usd=worst, limit_usd=model.limit_usd)
                if call is not None:
                    self.under_way += 1
                    return call
                if not self.under_way:
                    self.is_budget_spent = True
                    return None
                await self.settled.wait()

    async def _end(self, call: int, answer: Answer | None, *, may_cost: bool) -> Outcome:
        model, cost = self.model, None
        if answer is None:
            model.ledger.abandon([call], may_cost=may_cost)
        else:
            cost = model.cost(answer)
            model.ledger.end(call, answer, cost)
            model.count([(answer, cost)])
        async with self.settled:
            self.under_way -= 1
            self.settled.notify_all()
        return answer.value(cost) if answer is not None else NoReply("failed", "not answered")

    async def _give_up(self, key: str, request: LlmRequest, reason: str) -> NoReply:
        """A request that the server refuses for good: kept in the ledger, so that it is not sent again unasked."""
        call = self.model.ledger.begin(key, self.model.server.address, worst_usd=0.0, limit_usd=None)
        assert call is not None
        self.model.ledger.end(call, Answer("failed", reason, 0, 0), 0.0)
        return NoReply("failed", reason)


@contextmanager
def _running(model: OpenAIModel, fresh: Mapping[str, LlmRequest]) -> Generator[Mapping[str, Future[Outcome]]]:
    """The answers to come. Left early, requests under way get `grace_s` to end; what is not sent is not asked."""
    answers: dict[str, Future[Outcome]] = {key: Future() for key in fresh}
    if not fresh:
        yield answers
        return
    pending = _PendingRequests(model, deque(fresh.items()), answers, Cooldown(model.retry_policy))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="language-model", daemon=True)
    thread.start()
    done = asyncio.run_coroutine_threadsafe(pending.run(), loop)
    done.add_done_callback(lambda ended: _pass_on(ended, answers))
    try:
        yield answers
    finally:
        pending.is_closing = True
        if not wait([done], model.retry_policy.grace_s).done and pending.task is not None:
            loop.call_soon_threadsafe(pending.task.cancel)
            wait([done], model.retry_policy.grace_s)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _pass_on(ended: Future[None], answers: Mapping[str, Future[Outcome]]) -> None:
    """Answers that are still awaited raise the error that ended the run."""
    error = None if ended.cancelled() else ended.exception()
    for answer in answers.values():
        if not answer.done():
            answer.set_exception(error or CancelledError())
