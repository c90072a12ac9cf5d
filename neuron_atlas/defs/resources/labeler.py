"""Who writes labels: rules, a language model, a person or a file; and how the budget is shared between layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import dagster as dg
from pydantic import Field

from neuron_atlas.core.records import layer_key
from neuron_atlas.defs.resources.language_model import LanguageModelResource
from neuron_atlas.defs.storage.provenance import FingerprintedResource
from neuron_atlas.errors import UnknownName
from neuron_atlas.settings import setting_description

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from neuron_atlas.core.labeling.labeler import Labeler
    from neuron_atlas.core.records import Side

Kind = Literal["rules", "openai", "openai-batch", "human", "import"]
KINDS: tuple[Kind, ...] = get_args(Kind)


class LabelerResource(FingerprintedResource):
    """Who writes the labels: `rules` works offline and without a key."""

    kind: str = Field(description=setting_description("labeler"))
    language_model: LanguageModelResource
    plan: list[str] = Field(
        default=[],
        description="Layers of this run, in order, that share the budget, as 'output L05'; unset: all layers of both passes.",
    )
    retry: bool = Field(
        default=False, description="Send again requests that were refused, cut off or not answered before."
    )

    def fingerprint(self, partition: str | None) -> str:
        if not self.is_paid:
            return self.version()
        return f"{self.version()} {self.language_model.base_url or ''} up to {self.language_model.budget_usd} USD"

    @property
    def is_paid(self) -> bool:
        """Whether a language model is asked."""
        return self.kind in ("openai", "openai-batch")

    def version(self) -> str:
        """Labeler and version: the name of the label set in the search database."""
        from neuron_atlas.core.labeling.labelers.prompt import PROMPT_VERSION

        if self.is_paid:
            return f"{self.kind} {self.language_model.name} {PROMPT_VERSION}"
        labeler = self.load()
        return f"{labeler.name} {labeler.version}"

    def for_run(self, *, plan: Sequence[str] = (), retry: bool = False) -> LabelerResource:
        """The same labeler for one run: the layers that share its budget, and whether unanswered requests are sent again."""
        return LabelerResource(kind=self.kind, language_model=self.language_model, plan=list(plan), retry=retry)

    def for_layer(self, side: Side, layer: int, n_layers: int) -> Labeler:
        """The labeler of one layer of a pass, with its equal share of what is left of the budget for it and those after it."""
        outputs = [layer_pass("output", n) for n in reversed(range(n_layers))]
        plan = self.plan or [*outputs, *(layer_pass("input", n) for n in range(n_layers))]
        name = layer_pass(side, layer)
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


def layer_pass(side: Side, layer: int) -> str:
    """The name of one layer of one pass in a plan: `output L05`."""
    return f"{side} {layer_key(layer)}"


def spending_metadata(labeler: Labeler) -> dict[str, int | float]:
    """What a labeler's calls took, for the Dagster UI; empty for one without paid calls."""
    from neuron_atlas.adapters.language_model import OpenAIBatchModel, OpenAIModel
    from neuron_atlas.core.labeling.labelers.language_model import LanguageModelLabeler

    if not isinstance(labeler, LanguageModelLabeler) or not isinstance(labeler.model, OpenAIModel | OpenAIBatchModel):
        return {}
    model = labeler.model
    return {
        "calls": model.spending.calls,
        "answered_from_ledger": model.spending.from_ledger,
        "retries": model.spending.retries,
        "prompt_tokens": model.spending.prompt_tokens,
        "completion_tokens": model.spending.completion_tokens,
        "cost_usd": round(model.spending.cost_usd, 6),
        "spent_in_all_usd": round(model.ledger.spent(), 6),
    }


def progress_log(log: dg.DagsterLogManager) -> Callable[[int, int], None]:
    """A listener that logs progress, at every tenth of the neurons."""

    def listen(done: int, total: int) -> None:
        if done == total or done * 10 // total > (done - 1) * 10 // total:
            log.info(f"{done} of {total} neurons labeled")

    return listen
