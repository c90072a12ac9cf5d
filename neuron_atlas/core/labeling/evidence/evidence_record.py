"""What a labeler is shown of one neuron.

A labeler reads nothing else, so two labelers can be compared on the same evidence, and the hash stored beside a label names
exactly what was shown. There are two kinds, one per pass: what a neuron *does* (`OutputEvidence`) and what *triggers* it
(`InputEvidence`). All signs are already turned towards the polarity that is being labeled: `weight > 0` means "when it fires
this way, this rises" or "this makes it fire this way".

The hash is taken over the records' JSON: adding, renaming or reordering a field changes it for every label. How evidence is
collected from the tables is in `gather.py`; how it reads as text is in `render.py`; what is answered is in `labeler_answer.py`.
"""

from __future__ import annotations

import hashlib
from typing import Literal, TypeAlias

from neuron_atlas.core.labeling.evidence.labeler_answer import Checked, Polarity
from neuron_atlas.core.records import Side

MAX_LISTED = 10
"""Tokens in a `TokenList`, at most."""


class TokenWeight(Checked):
    """A token and how strongly it takes part (logits, response or mean weight: see where it stands)."""

    token_id: int
    text: str
    weight: float


class SharedTrait(Checked):
    """Something that tokens of a list have in common: those that carry it, out of `of` asked, and how common it is among all
    tokens seen (`base`, 0..1)."""

    kind: Literal["class", "form", "context"]
    name: str
    token_ids: tuple[int, ...]
    of: int
    base: float


class TokenList(Checked):
    """Tokens, strongest first, and what the strongest of them share."""

    tokens: tuple[TokenWeight, ...] = ()
    shared: tuple[SharedTrait, ...] = ()


class SeenLabel(Checked):
    """A neighbour's label as it was seen: its text, the tokens it predicts, whether they rise (+1) or fall (-1), and `ref`,
    which names that version of it (`L18/N6721+@<hash>`)."""

    side: Side
    text: str
    tokens: tuple[TokenWeight, ...] = ()
    direction: Polarity = 1
    ref: str


class Neighbour(Checked):
    """A connected neuron (`L18/N6721+`) and its labels, if it has any.

    `weight` is turned towards both polarities (> 0: one firing its way makes the other fire its way) and divided by the
    receiver's mean |activation|: the share of its usual activation that comes along this edge. `flow` is the mean
    |relevance| that passes (logits), `frequency` the share of this neuron's prompts in which the edge was seen, 0..1.
    """

    name: str
    weight: float
    flow: float = 0.0
    frequency: float
    labels: tuple[SeenLabel, ...] = ()

    def label(self, side: Side) -> SeenLabel | None:
        """Its label of one side."""
        return next((seen for seen in self.labels if seen.side == side), None)


class Exemplar(Checked):
    """A text on which the neuron fires, with the activation of every token turned towards the polarity."""

    tokens: tuple[str, ...]
    token_ids: tuple[int, ...]
    activations: tuple[float, ...]
    peak: int


class PeakPosition(Checked):
    """The most common token position of the exemplars' peaks, and the share of exemplars that peak there."""

    position: int
    share: float


class Association(Checked):
    """A token over-represented where the neuron fires: its share of the neuron's counts and its lift over the base rate."""

    token_id: int
    text: str
    n: int
    frequency: float
    lift: float


class Appearance(Checked):
    """How often the neuron appears in graphs and for which prompts."""

    n_prompts: int
    frequency: float
    domain: str | None = None
    domain_specificity: float | None = None
    domain_z: float | None = None


class DirectEffect(Checked):
    """Share of the neuron's effect that skips later MLPs, 0..1, over n instances."""

    der: float
    effect_type: Literal["logit", "mixed", "routing"]
    n: int
    by_ablation: float | None = None
    """The same share measured by taking the neuron's activation away in the model itself, where that was done."""


class PriorLabel(Checked):
    """A label that this neuron got elsewhere, and from where: a claim to be weighed, not a measurement."""

    side: Side
    text: str
    by: str


class _OneNeuron(Checked):
    layer: int
    neuron: int
    polarity: Polarity
    appearance: Appearance | None = None
    prior: tuple[PriorLabel, ...] = ()

    @property
    def name(self) -> str:
        """`L18/N6721+`: neuron and polarity."""
        return polar_name(self.layer, self.neuron, self.polarity)

    def digest(self) -> str:
        """The sha256 of everything shown, 64 hex digits."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


class OutputEvidence(_OneNeuron):
    """What a neuron does when it fires: the output pass.

    promotes, suppresses: logit lens, weights > 0 and < 0; logits: measured direct edges to traced logits, mean weight;
    downstream: the neurons it acts on; routed: tokens that their labels predict.
    """

    side: Literal["output"] = "output"
    promotes: TokenList = TokenList()
    suppresses: TokenList = TokenList()
    logits: TokenList = TokenList()
    direct_effect: DirectEffect | None = None
    downstream: tuple[Neighbour, ...] = ()
    routed: TokenList = TokenList()


class InputEvidence(_OneNeuron):
    """What makes a neuron fire: the input pass.

    drives: tokens whose embedding alone would drive it (response). From a corpus: exemplars, texts on which it fires most;
    others, random and near-miss texts; firing, tokens on which it fired (share of the summed activation); before, tokens
    that stand before the peak more often than elsewhere (share of exemplars); position, where the peaks stand; precision,
    how often the firing tokens make it fire in random texts, 0..1; near_misses, occurrences of them seen that leave it low.
    From graphs: embeddings that drive it directly (as a neighbour's weight); associations, tokens over-represented where it
    appears, at its position and in the window before it; gated, tokens that make its upstream neurons fire by their input
    labels.
    """

    side: Literal["input"] = "input"
    drives: TokenList = TokenList()
    firing: TokenList = TokenList()
    before: TokenList = TokenList()
    position: PeakPosition | None = None
    precision: float | None = None
    near_misses: int = 0
    embeddings: TokenList = TokenList()
    exemplars: tuple[Exemplar, ...] = ()
    others: tuple[Exemplar, ...] = ()
    associations: tuple[Association, ...] = ()
    associations_window: tuple[Association, ...] = ()
    upstream: tuple[Neighbour, ...] = ()
    gated: TokenList = TokenList()
    cooccurring: tuple[Neighbour, ...] = ()
    output_label: str | None = None


Evidence: TypeAlias = OutputEvidence | InputEvidence


def polar_name(layer: int, neuron: int, polarity: int) -> str:
    """`L18/N6721+` or `L18/N6721-`: the neuron and the sign of its activation."""
    return f"L{layer}/N{neuron}{'+' if polarity > 0 else '-'}"
