"""An OpenAI-compatible language model, for labelers and for whatever else asks one.

The key of its server is no configuration: it is read from the environment when a client is made, and Dagster never sees it.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from neuron_atlas.defs.storage.provenance import FingerprintedResource
from neuron_atlas.errors import BadInput
from neuron_atlas.settings import load_settings, setting_description

if TYPE_CHECKING:
    from neuron_atlas.adapters.language_model import Ledger, OpenAIBatchModel, OpenAIModel, Prices, Server


class LanguageModelResource(FingerprintedResource):
    """An OpenAI-compatible language model; every call goes through the ledger."""

    name: str = Field(description=setting_description("labeler_model"))
    base_url: str | None = Field(default=None, description=setting_description("openai_base_url"))
    concurrency: int = Field(default=16, description=setting_description("llm_concurrency"))
    price_input_usd: float | None = Field(default=None, description=setting_description("price_input_usd"))
    price_output_usd: float | None = Field(default=None, description=setting_description("price_output_usd"))
    budget_usd: float | None = Field(default=None, description=setting_description("budget_usd"))
    ledger: str = Field(description="File that records every paid call and its answer.")

    def fingerprint(self, partition: str | None) -> str:
        return f"{self.name} {self.base_url or 'openai'}" if self.is_configured() else "none"

    def is_configured(self) -> bool:
        """Whether there is a key, or a server that may need none."""
        return self.base_url is not None or bool(load_settings().openai_api_key.get_secret_value())

    def load(self) -> OpenAIModel | None:
        """The model; None where neither OPENAI_API_KEY nor OPENAI_BASE_URL is set."""
        return self.open() if self.is_configured() else None

    def open(self, *, shares: int = 1, retry_unanswered: bool = False) -> OpenAIModel:
        """The model, request by request. It may spend one of `shares` equal parts of what is left of the budget.

        Raises `BadInput` when it is not configured, or has a budget but no prices.
        """
        from neuron_atlas.adapters.language_model import OpenAIModel

        return OpenAIModel(
            self.server(),
            self.open_ledger(),
            concurrency=self.concurrency,
            prices=self.prices(),
            limit_usd=self._limit(shares),
            retry_unanswered=retry_unanswered,
        )

    def open_batch(self, *, shares: int = 1, retry_unanswered: bool = False) -> OpenAIBatchModel:
        """The same through the Batch API."""
        from neuron_atlas.adapters.language_model import OpenAIBatchModel

        return OpenAIBatchModel(
            self.server(),
            self.open_ledger(),
            prices=self.prices(),
            limit_usd=self._limit(shares),
            retry_unanswered=retry_unanswered,
        )

    def open_ledger(self) -> Ledger:
        """The ledger of all paid calls."""
        return _open_ledger(self.ledger)

    def server(self) -> Server:
        """Where requests go, with the key from the environment. Raises `BadInput` when it is not configured."""
        from neuron_atlas.adapters.language_model import Server, keep_out_of_logs

        key = load_settings().openai_api_key.get_secret_value()
        if not key and self.base_url is None:
            raise BadInput(
                "no language model is configured: expected OPENAI_API_KEY, or OPENAI_BASE_URL of a server that needs no key. "
                "NEURON_ATLAS_LABELER=rules works without one."
            )
        keep_out_of_logs(key)
        return Server(self.name, key or "none", self.base_url)

    def prices(self) -> Prices | None:
        """Prices, where both are set."""
        from neuron_atlas.adapters.language_model import Prices

        if self.price_input_usd is None or self.price_output_usd is None:
            return None
        return Prices(self.price_input_usd, self.price_output_usd)

    def _limit(self, shares: int) -> float | None:
        if self.budget_usd is None:
            return None
        if self.prices() is None:
            raise BadInput(
                f"a budget of ${self.budget_usd:.2f} cannot be kept without prices; set NEURON_ATLAS_PRICE_INPUT_USD and "
                "NEURON_ATLAS_PRICE_OUTPUT_USD (USD per million tokens)"
            )
        spent = self.open_ledger().spent()
        return spent + max(0.0, self.budget_usd - spent) / max(1, shares)


@lru_cache(maxsize=4)
def _open_ledger(path: str) -> Ledger:
    from neuron_atlas.adapters.language_model import Ledger

    return Ledger(Path(path))
