"""A comparison of two graphs as it is stored: one JSON document.

Keys name things in the first graph's positions: `L1/N2@3` a neuron at a position, `token 3`, `answer  Salem`; a position of
the second graph that has no counterpart is written `b7`. Lists are cut to the largest differences; the counts are of all.
"""

from __future__ import annotations

from typing import Literal

from neuron_atlas.core.circuits.analysis.analysis_record import RecordPart

FORMAT = "neuron_atlas/comparison/1"
"""The format that a document names."""

DEFINITIONS = {
    "neurons": "shared neuron instances over all of either graph (Jaccard)",
    "neurons_weighted": "sum of the smaller |relevance| over sum of the larger, 0 where the signs differ",
    "links": "shared links over all (Jaccard)",
    "links_weighted": "sum of the smaller |flow| over sum of the larger, 0 where the signs differ",
    "roles": "mean over shared instances of the cosine of their flows in both graphs, at least 0",
    "modules": "mean likeness of matched modules, over the larger number of modules",
}
"""What each similarity is."""

Presence = Literal["both", "a", "b"]
"""In which graphs something was found."""


class Side(RecordPart):
    """One of the graphs."""

    prompt: str
    prompt_id: str
    model_id: str
    model_revision: str
    goal: str
    tokens: tuple[str, ...]
    answers: tuple[str, ...]
    n_neurons: int
    n_links: int
    n_modules: int


class Count(RecordPart):
    """How many things are in both graphs, in the first alone, in the second alone."""

    both: int
    a: int
    b: int


class NeuronPair(RecordPart):
    """A neuron instance in both graphs; relevance in logits."""

    key: str
    layer: int
    neuron: int
    position_a: int | None
    position_b: int | None
    token: str | None
    relevance_a: float | None
    relevance_b: float | None
    difference: float
    found: Presence


class LinkPair(RecordPart):
    """A link in both graphs; flow in logits."""

    source: str
    target: str
    flow_a: float | None
    flow_b: float | None
    difference: float
    found: Presence


class AnswerPair(RecordPart):
    """What a neuron or token sends directly to all answers; flow in logits."""

    source: str
    flow_a: float
    flow_b: float
    difference: float


class ModulePair(RecordPart):
    """Two matched modules, or one without match."""

    module_a: int | None
    module_b: int | None
    likeness: float | None
    members: float | None
    places: float | None


class ComparisonRecord(RecordPart):
    """Two graphs compared (see `comparison`)."""

    format: Literal["neuron_atlas/comparison/1"] = FORMAT
    code_version: str
    by: Literal["position", "end", "token"]
    a: Side
    b: Side
    similarities: dict[str, float | None]
    definitions: dict[str, str]
    n_neurons: Count
    n_links: Count
    neurons: tuple[NeuronPair, ...]
    links: tuple[LinkPair, ...]
    answers: tuple[AnswerPair, ...]
    modules: tuple[ModulePair, ...]
    notes: tuple[str, ...]
