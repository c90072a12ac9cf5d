"""What a series of requests would cost, before the first is sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from neuron_atlas.adapters.language_model.ledger import Ledger
from neuron_atlas.adapters.language_model.server_settings import Prices, guessed_tokens
from neuron_atlas.core.llm_requests import LlmRequest

USUAL_COMPLETION = 700
"""Tokens of an answer before any has been seen; thinking models take more."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """Requests, how many the ledger answers, tokens of the others (guessed), and their USD: as expected and at most."""

    requests: int
    remembered: int
    prompt_tokens: int
    completion_tokens: int
    usd: float | None
    most_usd: float | None


def estimate(requests: Sequence[LlmRequest], address: str, ledger: Ledger, prices: Prices | None) -> Estimate:
    """The cost of asking `address` (see `Server.address`); answers are taken to be as long as this model's were so far."""
    known = ledger.answers_to(request.key(address) for request in requests)
    fresh = [request for request in requests if request.key(address) not in known]
    prompt = sum(guessed_tokens(request) for request in fresh)
    completion = round(len(fresh) * (ledger.usual_completion(address) or USUAL_COMPLETION))
    return Estimate(
        requests=len(requests),
        remembered=len(requests) - len(fresh),
        prompt_tokens=prompt,
        completion_tokens=completion,
        usd=None if prices is None else prices.cost(prompt, completion),
        most_usd=None if prices is None else sum(prices.worst(request) for request in fresh),
    )
