"""Everything that an atlas holds of one neuron."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from neuron_atlas.core.records import NeuronId


@dataclass(frozen=True)
class NeuronCard:
    """One neuron. Every field but `neuron` is a frame with the columns of its table, empty where the atlas has nothing.

    `summary` is the neuron's row of `neurons`; `labels` every label of both sides, best first, with its main score;
    `upstream` and `downstream` its strongest edges, labeled (columns of `Atlas.edges`); `weight_edges` later neurons that it would
    excite (direction 1) or inhibit (-1) through the weights alone, labeled, with the number of prompts (`n_prompts`) in which it
    was seen to act on them; `cluster` its modules from the top down; `profile_cluster` its cluster of the second view, by
    polarity.
    """

    neuron: NeuronId
    summary: pl.DataFrame
    labels: pl.DataFrame
    scores: pl.DataFrame
    upstream: pl.DataFrame
    downstream: pl.DataFrame
    weight_edges: pl.DataFrame
    exemplars: pl.DataFrame
    output_projections: pl.DataFrame
    input_projections: pl.DataFrame
    token_associations: pl.DataFrame
    cooccurrence: pl.DataFrame
    profiles: pl.DataFrame
    der: pl.DataFrame
    activations: pl.DataFrame
    prompts: pl.DataFrame
    cluster: pl.DataFrame
    profile_cluster: pl.DataFrame

    @property
    def label(self) -> str | None:
        """Its best label; None when it has none."""
        return self._summary_text("label")

    @property
    def description(self) -> str | None:
        """The best label's description; None when it has none."""
        return self._summary_text("description")

    def __str__(self) -> str:
        return f"{self.neuron}: {self.label or 'no label'}"

    def _summary_text(self, column: str) -> str | None:
        value = self.summary[column][0]
        return value if isinstance(value, str) else None
