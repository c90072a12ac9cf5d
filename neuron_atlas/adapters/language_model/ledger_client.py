"""What both clients share: the server, the ledger and its budget, answers that are there already, and what calls took."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TypedDict, Unpack

from neuron_atlas.adapters.language_model.ledger import Answer, Ledger, Spending
from neuron_atlas.adapters.language_model.server_settings import Prices, RetryPolicy, Server
from neuron_atlas.core.llm_requests import LlmRequest, NoReply, Reply


class ClientOptions(TypedDict, total=False):
    """How a client retries, what it may spend and what it asks again; see `LedgerClient`."""

    retry_policy: RetryPolicy | None
    prices: Prices | None
    limit_usd: float | None
    retry_unanswered: bool


class LedgerClient:
    """A client of `server` whose calls go through `ledger`.

    With `limit_usd` no call is begun that could take all spending in the ledger above it (needs `prices`). With
    `retry_unanswered`, requests that were refused, cut off or failed before are sent once more.
    """

    def __init__(
        self,
        server: Server,
        ledger: Ledger,
        **options: Unpack[ClientOptions],
    ) -> None:
        self.server = server
        self.ledger = ledger
        self.retry_policy = options.get("retry_policy") or RetryPolicy()
        self.prices = options.get("prices")
        self.limit_usd = options.get("limit_usd")
        self.retry_unanswered = options.get("retry_unanswered", False)
        self.spending = Spending()

    @property
    def name(self) -> str:
        """The model's name."""
        return self.server.model

    def answers_from_ledger(self, keys: Sequence[str]) -> dict[str, Reply | NoReply]:
        """What the ledger holds for these requests, counted as not paid."""
        answers = self.ledger.answers_to(keys, only_replies=self.retry_unanswered)
        n_answered = sum(key in answers for key in keys)
        self.spending = replace(self.spending, from_ledger=self.spending.from_ledger + n_answered)
        return answers

    def most_usd(self, request: LlmRequest) -> float:
        """The most a request can cost; 0 where no price is known."""
        return self.prices.worst(request) if self.prices is not None else 0.0

    def cost(self, answer: Answer) -> float | None:
        """What an answer cost, USD; None where no price is known."""
        return None if self.prices is None else self.prices.cost(answer.prompt_tokens, answer.completion_tokens)

    def count(self, paid: Iterable[tuple[Answer, float | None]]) -> None:
        """Add paid answers, each with its cost, to `spending`."""
        for answer, cost in paid:
            self.spending = replace(
                self.spending,
                calls=self.spending.calls + 1,
                prompt_tokens=self.spending.prompt_tokens + answer.prompt_tokens,
                completion_tokens=self.spending.completion_tokens + answer.completion_tokens,
                cost_usd=self.spending.cost_usd + (cost or 0.0),
            )

    def over_budget(self) -> NoReply:
        """The answer to a request that the budget does not allow."""
        return NoReply("budget", f"spending reached its limit of ${self.limit_usd:.2f}")
