"""The plain values that modules pass to each other.

A **neuron** is one coordinate of the input of an MLP's down projection (after the gate product): `(layer, neuron)`, in text
`L18/N6721`. An **instance** adds the token position. A **polarity** (+1 or -1) is the sign of its activation. What a table
holds is in `tables/`; what core needs adapters to provide is in `ports.py`. Not here: anything that computes, reads or writes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal, TypeAlias

import polars as pl

from neuron_atlas.core.hashing import content_hash
from neuron_atlas.errors import BadInput

Tables: TypeAlias = Mapping[str, pl.LazyFrame]
"""Named tables to read, by the names of `tables/`: what one asset stores together."""

Frames: TypeAlias = dict[str, pl.DataFrame]
"""Named tables that were computed, by the same names."""

NEURON_TEXT = re.compile(r"^L(\d+)/N(\d+)$")
NAME = re.compile(r"^[a-z0-9][a-z0-9_-]{0,63}$")
"""What the name of a prompt set, corpus or partition may look like (it becomes a folder and a partition key)."""


@dataclass(frozen=True, slots=True, order=True)
class NeuronId:
    """One neuron of the model: `layer` and `neuron` count from 0."""

    layer: int
    neuron: int

    def __str__(self) -> str:
        return f"L{self.layer}/N{self.neuron}"

    @classmethod
    def parse(cls, text: str) -> NeuronId:
        """Read `L18/N6721`; raises `BadInput` on anything else."""
        match = NEURON_TEXT.match(text.strip())
        if match is None:
            raise BadInput(f"{text!r} is not a neuron; expected the form L18/N6721 (layer 18, neuron 6721)")
        return cls(int(match[1]), int(match[2]))


Side: TypeAlias = Literal["output", "input"]
"""The two labels of a neuron: `output`, what it does when it fires; `input`, what makes it fire."""
SIDES: tuple[Side, ...] = ("output", "input")

NeuronLabels: TypeAlias = Mapping[tuple[NeuronId, int], str]
"""Label by (neuron, polarity)."""

NO_LABELS: NeuronLabels = {}


def layer_key(layer: int) -> str:
    """The partition key of a layer: `L07`."""
    return f"L{layer:02d}"


def layer_of_key(key: str) -> int:
    """The layer of a partition key: `L07` is 7. Raises `BadInput` on another form."""
    if not re.fullmatch(r"L\d{2,3}", key):
        raise BadInput(f"{key!r} is not a layer partition; expected the form L07")
    return int(key[1:])


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt to trace.

    `target_tokens` are the answers whose logits are summed into the goal, as text; `contrast` is (positive, negative)
    and makes the goal their logit difference; without either, the goal is the sum of the top k logits. `position` is
    the token position whose logits are traced (-1: the last). `raw` text is not wrapped in the tokenizer's chat
    template (a tokenizer without one always takes raw text).
    """

    text: str
    answer_prefix: str | None = None
    target_tokens: tuple[str, ...] = ()
    contrast: tuple[str, str] | None = None
    position: int = -1
    raw: bool = False
    tags: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def prompt_id(self) -> str:
        """16 hex digits from the content (tags left out): the same prompt has the same id everywhere."""
        shaped = {k: v for k, v in asdict(self).items() if k != "tags"}
        return content_hash(shaped)[:16]


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of a conversation with the model under study."""

    role: Literal["system", "user", "assistant"]
    text: str


@dataclass(frozen=True, slots=True)
class PromptSet:
    """A named list of prompts. `kind` says whether it stands for a domain or for the baseline that domains are
    compared with (domain specificity)."""

    name: str
    kind: Literal["domain", "baseline"]
    prompts: tuple[Prompt, ...]
    description: str = ""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What a model is: sizes from its own config; `revision` is the sha256 of config, tokenizer and weights."""

    model_id: str
    revision: str
    architecture: str
    n_layers: int
    n_neurons: int
    d_model: int
    vocab_size: int
    dtype: str


@dataclass(frozen=True, slots=True)
class Edit:
    """An intervention on one neuron's activation: `set` it to `value`, `add` value, or `scale` by value.

    `position` None means every position.
    """

    layer: int
    neuron: int
    value: float
    position: int | None = None
    how: Literal["set", "add", "scale"] = "set"


@dataclass(frozen=True, slots=True)
class TraceOptions:
    """What shapes a graph beside the prompt; part of the graph's identity.

    k: how many top logits are targets when the prompt names none. Node selection: `top_n` largest |relevance|, or
    `mass` (smallest set holding that share of total |relevance|), or `tau` (|relevance| >= tau * |goal|, the default);
    never more than `max_nodes` (the graph is then flagged as trimmed). An edge is kept when |weight| >= edge_tau *
    |value of its target|; what falls below is summed exactly into the target's `error`. Neurons of `exclude` (`L18/N6721`) are
    never nodes: what they do counts as error.
    """

    k: int = 5
    tau: float = 0.005
    top_n: int | None = None
    mass: float | None = None
    max_nodes: int = 4000
    edge_tau: float = 0.01
    rules: str = "relp"
    centre_logits: bool = False
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GraphSummary:
    """What table `graphs` says of one graph beside its prompt; the units are declared there."""

    token_ids: tuple[int, ...]
    tokens: tuple[str, ...]
    position: int
    goal: str
    goal_value: float
    rules: str
    dtype: str
    is_trimmed: bool
    completeness: float
    replacement: float
    conservation_error: float
    kept_edge_share: float
    note: str = ""
    model_id: str = ""
    model_revision: str = ""
    options: TraceOptions | None = None
    """The last three say what made the graph, where that is known (a graph from elsewhere may not say)."""


@dataclass(frozen=True, slots=True)
class Arrangement:
    """What people did to a graph in a viewer: nodes they pinned, and groups of nodes they named (`node` of table `nodes`)."""

    pinned: tuple[int, ...] = ()
    groups: tuple[tuple[str, tuple[int, ...]], ...] = ()


@dataclass(frozen=True)
class AttributionGraph:
    """One prompt's graph.

    `nodes`, `edges` and `logits` are frames with the columns of tables `nodes`, `edges` and `targets`, without `prompt_id`. Its
    edges join nodes, a neuron at one position each, of this prompt; the edges of an atlas (`Atlas.edges`, table `edge_stats`) are
    statistics of neuron-to-neuron edges over many graphs, positions dropped. `arrangement` is kept in JSON files only.
    """

    prompt: Prompt
    nodes: pl.DataFrame
    edges: pl.DataFrame
    logits: pl.DataFrame
    summary: GraphSummary
    arrangement: Arrangement = Arrangement()

    @property
    def scores(self) -> dict[str, float]:
        """How much of the graph is explained and how exactly; table `graphs` says what each score means."""
        s = self.summary
        return {
            "completeness": s.completeness,
            "replacement": s.replacement,
            "kept_edge_share": s.kept_edge_share,
            "conservation_error": s.conservation_error,
        }


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A prompt that could not be traced, and why; it never fails the set it belongs to."""

    prompt: Prompt
    reason: str


@dataclass(frozen=True)
class InstanceLabels:
    """What an atlas says neurons do and fire on, by (neuron, polarity)."""

    does: NeuronLabels = field(default_factory=dict[tuple[NeuronId, int], str])
    fires_on: NeuronLabels = field(default_factory=dict[tuple[NeuronId, int], str])
