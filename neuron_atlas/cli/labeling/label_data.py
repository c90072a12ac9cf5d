"""What the labeling commands read: stored evidence and labels, with labels that people gave since."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from neuron_atlas.core.aggregation.readable_tokens import readable_token
from neuron_atlas.core.labeling.evidence.evidence_record import polar_name
from neuron_atlas.core.labeling.evidence.gather import GatheredEvidence, gather
from neuron_atlas.core.labeling.evidence.labelable import labelable
from neuron_atlas.core.labeling.given_labels import ids_by_text, join_given, with_token_ids
from neuron_atlas.core.labeling.labeling_order import labeling_order
from neuron_atlas.core.records import SIDES, NeuronId, Side, Tables
from neuron_atlas.definitions import Resources, stored_tables
from neuron_atlas.errors import UnknownName
from neuron_atlas.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

EVIDENCE = ("edge_stats", "der_scores", "output_projections", "input_projections", "activation_stats")
LABELS = ("output_labels", "input_labels")


@dataclass(frozen=True)
class LabelData:
    """Labels and evidence of one atlas, as stored."""

    resources: Resources
    evidence: Tables
    stored: Tables
    token_text: Mapping[int, str]

    @classmethod
    def open(cls, settings: Settings) -> LabelData:
        """Read what is stored of the atlas of these settings."""
        resources = Resources.from_settings(settings)
        return cls(
            resources=resources,
            evidence=stored_tables(*EVIDENCE, settings=settings),
            stored=stored_tables(*LABELS, settings=settings),
            token_text=resources.model.vocabulary(),
        )

    @property
    def n_layers(self) -> int:
        """Layers of the model."""
        return self.resources.model.spec().n_layers

    def labels(self) -> Tables:
        """The labels as `neuron-atlas label` would store them now: those stored, and those given since."""
        now: dict[str, pl.LazyFrame] = {}
        by_text = ids_by_text({token: readable_token(text) for token, text in self.token_text.items()})
        for name, side in zip(LABELS, SIDES, strict=True):
            given = [self.resources.label_store.rows(side, layer) for layer in range(self.n_layers)]
            frames = [with_token_ids(frame, by_text) for frame in given if frame is not None]
            if name in self.stored:
                now[name] = (
                    join_given(self.stored[name].collect(), pl.concat(frames)).lazy() if frames else self.stored[name]
                )
        return now

    def gathered(self, side: Side, layer: int, *, as_draft: bool = False) -> list[GatheredEvidence]:
        """The evidence of one layer, the neuron first whose label is worth most."""
        labels = self.labels()
        by_name = {one.evidence.name: one for one in self._gather(side, layer, labels, as_draft=as_draft)}
        order = labeling_order(side, layer, evidence=self.evidence, labels=labels)
        return [by_name[polar_name(at, neuron, polarity)] for at, neuron, polarity, _ in order.iter_rows()]

    def of_neuron(self, neuron: NeuronId, side: Side) -> list[GatheredEvidence]:
        """The evidence of one neuron, firing positive before negative. Raises `UnknownName` when it has none."""
        only = frozenset({neuron.neuron})
        found = self._gather(side, neuron.layer, self.labels(), as_draft=True, only=only)
        if not found:
            here = labelable(self.evidence).filter(pl.col("layer") == neuron.layer)["neuron"].unique()
            raise UnknownName("neuron with evidence", str(neuron), {str(NeuronId(neuron.layer, n)) for n in here})
        return sorted(found, key=lambda one: -one.evidence.polarity)

    def _gather(
        self, side: Side, layer: int, labels: Tables, *, as_draft: bool, only: frozenset[int] | None = None
    ) -> list[GatheredEvidence]:
        found, _ = gather(
            side, layer, evidence=self.evidence, labels=labels, token_text=self.token_text,
            prior=self.resources.label_store.both_sides(layer), as_draft=as_draft, only=only,
        )  # fmt: skip
        return found
