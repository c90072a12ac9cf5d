"""What goes into a NeuronDB and what comes out: label sets, label records, reports of a load and of an index check. Search
queries and results are in core/publication/search."""

from __future__ import annotations

from dataclasses import dataclass, field

from neuron_atlas.core.publication.search.label_records import KeyedLabel
from neuron_atlas.core.publication.search.search_result import RECALL_NEEDED


@dataclass(frozen=True, slots=True)
class LabelSet:
    """One load: the labels of one model under one version name, and how they were embedded.

    `n_documents` and `mean_length` describe its words; they are missing in a set that was loaded before words were indexed.
    """

    label_set: int
    model: int
    model_id: str
    revision: str
    version: str
    embedder: str
    dimension: int
    content_hash: str
    n_descriptions: int
    n_unlabeled: int
    recall: float | None
    n_documents: int | None
    mean_length: float | None

    def table(self, name: str) -> str:
        """The set's own part of a table, for statements: named directly, a plan is made from its own statistics."""
        return f"neuron_db.{name}_{self.label_set}"


@dataclass(frozen=True, slots=True)
class LabelRecord(KeyedLabel):
    """One label record as it is stored: the label that `labeler` gave one polarity of a neuron, on one side (1 or -1; output or
    input).

    `label` is None when the labeler gave none; `unlabeled_reason` says why. `score` is corrected for chance, `measured` is the
    metric itself with its 95 % interval. `is_preferred` is worked out by the database: what is given there counts for nothing.
    """

    label: str | None
    labeler_version: str = ""
    description: str | None = None
    unlabeled_reason: str | None = None
    type: str = "unknown"
    direction: int = 1
    confidence: float | None = None
    tokens: list[str] = field(default_factory=list[str])
    evidence_hash: str = ""
    metric: str | None = None
    score: float | None = None
    measured: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    n_scored: int | None = None
    interpretability: str | None = None
    is_preferred: bool = True


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What a load did. `is_new` is False when the database held exactly this already and nothing was written."""

    label_set: LabelSet
    n_texts: int
    n_neurons: int
    n_quantiles: int
    n_exemplars: int
    is_new: bool


@dataclass(frozen=True, slots=True)
class RecallReport:
    """The search index against an exact scan: share of the true k nearest that it finds, over n questions."""

    recall: float
    worst: float
    k: int
    n: int

    @property
    def is_good(self) -> bool:
        """Whether searches may use the index."""
        return self.recall >= RECALL_NEEDED
