"""Labels that people gave or that were imported."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from neuron_atlas.core.records import layer_of_key
from neuron_atlas.defs.resources.subject_model import ModelResource
from neuron_atlas.defs.storage.provenance import FingerprintedResource

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

    from neuron_atlas.adapters.labels.label_store import LabelStore
    from neuron_atlas.core.records import Side, Tables


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
        """The labels of one layer and side that people gave or that were imported; None when there is no store."""
        if not Path(self.path).exists():
            return None
        with self.open() as store:
            return store.rows(side, layer, model_revision=self.model.spec().revision)

    def both_sides(self, layer: int) -> Tables:
        """The same rows of both sides as label tables; empty when there is no store."""
        sides: tuple[Side, ...] = ("output", "input")
        found = {f"{side}_labels": self.rows(side, layer) for side in sides}
        return {name: rows.lazy() for name, rows in found.items() if rows is not None}
