"""Who writes labels: rules, a language model, a person, a file; and the language model itself, for whoever needs one.

Each is an `FingerprintedResource` like those of ingredients.py. The key of a language model's server is no configuration: it is read from
the environment when a client is made, and Dagster never sees it.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import dagster as dg
from pydantic import Field

from neuron_atlas.core.records import layer_key, layer_of_key
from neuron_atlas.defs.resources.inputs import ModelResource
from neuron_atlas.defs.storage.provenance import FingerprintedResource
from neuron_atlas.errors import BadInput, UnknownName
from neuron_atlas.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import polars as pl

    from neuron_atlas.adapters.labels.label_store import LabelStore
    from neuron_atlas.adapters.language_model import Ledger, OpenAIBatchModel, OpenAIModel, Prices, Server
    from neuron_atlas.core.labeling.labeler import Labeler
    from neuron_atlas.core.records import Side, Tables

Kind = Literal["rules", "openai", "openai-batch", "human", "import"]
KINDS: tuple[Kind, ...] = get_args(Kind)


class LanguageModelResource(FingerprintedResource):
    """An OpenAI-compatible language model; every call goes through the ledger."""

    name: str = Field(description="The model's name on its server.")
    base_url: str | None = Field(default=None, description="The server; unset: OpenAI's own.")
    concurrency: int = Field(default=16, description="Requests under way at once.")
    price_input_usd: float | None = Field(default=None, description="USD per million tokens in.")
    price_output_usd: float | None = Field(default=None, description="USD per million tokens out.")
    budget_usd: float | None = Field(default=None, description="The most that all calls in the ledger may cost, USD.")
    ledger: str = Field(description="The ledger's file.")

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


class LabelerResource(FingerprintedResource):
    """Who writes the labels: `rules` works offline and without a key."""

    kind: str = Field(description="rules, openai, openai-batch, human or import.")
    language_model: LanguageModelResource
    plan: list[str] = Field(
        default=[],
        description="Layers of this run, in order, that share the budget, as 'output L05'; default: all of both passes.",
    )
    retry: bool = Field(default=False, description="Ask again what was refused or cut off before.")

    def fingerprint(self, partition: str | None) -> str:
        if not self.is_paid:
            return self.version()
        return f"{self.version()} {self.language_model.base_url or ''} up to {self.language_model.budget_usd} USD"

    @property
    def is_paid(self) -> bool:
        """Whether a language model is asked."""
        return self.kind in ("openai", "openai-batch")

    def version(self) -> str:
        """Who labels, in which version: the name of the label set in the search database."""
        from neuron_atlas.core.labeling.labelers.prompt import PROMPT_VERSION

        if self.is_paid:
            return f"{self.kind} {self.language_model.name} {PROMPT_VERSION}"
        labeler = self.load()
        return f"{labeler.name} {labeler.version}"

    def set_to(self, *, plan: Sequence[str] = (), retry: bool = False) -> LabelerResource:
        """The same labeler for one run."""
        return LabelerResource(kind=self.kind, language_model=self.language_model, plan=list(plan), retry=retry)

    def for_layer(self, side: Side, layer: int, n_layers: int) -> Labeler:
        """The labeler of one layer of a pass, with its equal share of what is left of the budget for it and those after it."""
        outputs = [unit_name("output", n) for n in reversed(range(n_layers))]
        plan = self.plan or [*outputs, *(unit_name("input", n) for n in range(n_layers))]
        name = unit_name(side, layer)
        return self.load(shares=len(plan) - plan.index(name) if name in plan else 1)

    def load(self, *, shares: int = 1, attempt: int = 0) -> Labeler:
        """The labeler; with another `attempt`, other answers are asked for.

        Raises `UnknownName` on a kind that does not exist, `BadInput` when its model is not configured.
        """
        from neuron_atlas.core.labeling.labelers.given_only import GivenOnlyLabeler
        from neuron_atlas.core.labeling.labelers.language_model import LanguageModelLabeler
        from neuron_atlas.core.labeling.labelers.rules import RulesLabeler

        if self.kind == "openai":
            return LanguageModelLabeler(
                self.language_model.open(shares=shares, retry_unanswered=self.retry), attempt=attempt
            )
        if self.kind == "openai-batch":
            model = self.language_model.open_batch(shares=shares, retry_unanswered=self.retry)
            return LanguageModelLabeler(model, name="openai-batch", attempt=attempt)
        if self.kind in ("human", "import"):
            return GivenOnlyLabeler(self.kind)
        if self.kind != "rules":
            raise UnknownName("labeler", self.kind, KINDS, hint="Set NEURON_ATLAS_LABELER.")
        return RulesLabeler()


def unit_name(side: Side, layer: int) -> str:
    """One layer of one pass, in a plan."""
    return f"{side} {layer_key(layer)}"


class LabelStoreResource(FingerprintedResource):
    """Labels by people and from elsewhere; a partition is a layer."""

    path: str
    model: ModelResource

    def fingerprint(self, partition: str | None) -> str:
        if partition is None or not Path(self.path).exists():
            return ""
        with self.open() as store:
            return store.fingerprint(layer_of_key(partition), model_revision=self.model.spec().revision)

    @contextmanager
    def open(self) -> Iterator[LabelStore]:
        """The store; its file is made when missing."""
        from neuron_atlas.adapters.labels.label_store import open_label_store

        with open_label_store(Path(self.path)) as store:
            yield store

    def rows(self, side: Side, layer: int) -> pl.DataFrame | None:
        """The labels of one layer and side that persons gave or that were imported; None without any store."""
        if not Path(self.path).exists():
            return None
        with self.open() as store:
            return store.rows(side, layer, model_revision=self.model.spec().revision)

    def both_sides(self, layer: int) -> Tables:
        """The same rows of both sides as label tables; empty without any store."""
        sides: tuple[Side, ...] = ("output", "input")
        found = {f"{side}_labels": self.rows(side, layer) for side in sides}
        return {name: rows.lazy() for name, rows in found.items() if rows is not None}


def spending(labeler: Labeler) -> dict[str, int | float]:
    """What a labeler's calls took, for the Dagster UI; nothing for one that pays nobody."""
    from neuron_atlas.adapters.language_model import OpenAIBatchModel, OpenAIModel
    from neuron_atlas.core.labeling.labelers.language_model import LanguageModelLabeler

    if not isinstance(labeler, LanguageModelLabeler) or not isinstance(labeler.model, OpenAIModel | OpenAIBatchModel):
        return {}
    model = labeler.model
    return {
        "calls": model.spending.calls,
        "answered_from_ledger": model.spending.remembered,
        "retries": model.spending.retries,
        "prompt_tokens": model.spending.prompt_tokens,
        "completion_tokens": model.spending.completion_tokens,
        "cost_usd": round(model.spending.cost_usd, 6),
        "spent_in_all_usd": round(model.ledger.spent(), 6),
    }


def heard(log: dg.DagsterLogManager) -> Callable[[int, int], None]:
    """A listener that logs every tenth of the way."""

    def listen(done: int, total: int) -> None:
        if done == total or done * 10 // total > (done - 1) * 10 // total:
            log.info(f"{done} of {total} neurons labeled")

    return listen
