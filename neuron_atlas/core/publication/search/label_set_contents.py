"""All that a search database holds of one model under one label version, as frames: what is loaded, exported and imported.

Every source (our own tables, an atlas file, an export, another database) becomes `LabelSetContents` through `checked_contents`,
once; loading and writing take it as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from neuron_atlas.core.publication.search.label_records import (
    LABEL_KEY,
    LABEL_RECORD,
    checked_or_empty,
    scored_labels,
    with_preferred,
)
from neuron_atlas.core.records import ModelSpec, Tables
from neuron_atlas.core.tables import ACTIVATION_STATS, CLUSTER_LABELS, CLUSTER_MEMBERS, EXEMPLARS
from neuron_atlas.errors import DamagedData

NEURON: dict[str, pl.DataType] = {
    "layer": pl.Int16(), "neuron": pl.Int32(), "cluster_path": pl.String(), "cluster_label": pl.String(),
}  # fmt: skip
"""`cluster_path` is the finest module, missing when it is in none."""
QUANTILE: dict[str, pl.DataType] = {
    name: ACTIVATION_STATS.schema[name]
    for name in ("corpus", "layer", "neuron", "n_tokens", "density_positive", "density_negative", "quantiles")
}
EXEMPLAR: dict[str, pl.DataType] = {
    name: dtype for name, dtype in EXEMPLARS.schema.items() if name not in ("is_held_out", "token_ids")
}
PARTS: dict[str, tuple[dict[str, pl.DataType], tuple[str, ...]]] = {
    "descriptions": (LABEL_RECORD, LABEL_KEY),
    "neurons": (NEURON, ("layer", "neuron")),
    "quantiles": (QUANTILE, ACTIVATION_STATS.key),
    "exemplars": (EXEMPLAR, EXEMPLARS.key),
}
"""The frames by the names of their tables in the database and of their files in an export: columns and key. The label records
are called `descriptions` there."""


@dataclass(frozen=True, slots=True)
class SizedModel:
    """What a model is called, which one exactly, and how many neurons it has (`n_neurons` per layer)."""

    model_id: str
    revision: str
    n_layers: int
    n_neurons: int

    @classmethod
    def of(cls, spec: ModelSpec) -> SizedModel:
        """The same of a `ModelSpec`."""
        return cls(spec.model_id, spec.revision, spec.n_layers, spec.n_neurons)


@dataclass(frozen=True)
class LabelSetContents:
    """The frames of `PARTS`, checked and in key order, with the model and the name of the label version they belong to."""

    model: SizedModel
    version: str
    label_records: pl.DataFrame
    neurons: pl.DataFrame
    quantiles: pl.DataFrame
    exemplars: pl.DataFrame

    @classmethod
    def of_frames(cls, model: SizedModel, version: str, frames: Mapping[str, pl.DataFrame]) -> LabelSetContents:
        """The contents of frames by their names in `PARTS`, taken as they are."""
        return cls(model, version, frames["descriptions"], frames["neurons"], frames["quantiles"], frames["exemplars"])

    def frames(self) -> dict[str, pl.DataFrame]:
        """The frames by name, in the order of `PARTS`."""
        return {
            "descriptions": self.label_records,
            "neurons": self.neurons,
            "quantiles": self.quantiles,
            "exemplars": self.exemplars,
        }


def checked_contents(model: SizedModel, version: str, frames: Mapping[str, pl.DataFrame]) -> LabelSetContents:
    """The contents of frames by their names in `PARTS`: in key order, every neuron listed, `is_preferred` of the label records
    worked out (what is given there counts for nothing).

    Raises `DamagedData` for wrong columns or types, a repeated key, or a neuron that the model does not have.
    """
    checked = {name: _checked(name, frames[name], model) for name in PARTS}
    every = pl.concat([frame.select("layer", "neuron") for frame in checked.values()]).unique()
    checked["neurons"] = every.join(checked["neurons"], on=["layer", "neuron"], how="left").sort("layer", "neuron")
    checked["descriptions"] = with_preferred(checked["descriptions"])
    return LabelSetContents.of_frames(model, version, checked)


def collect_label_set(tables: Tables, *, model: SizedModel, version: str) -> LabelSetContents:
    """What our own tables say: `output_labels` or `input_labels` or both, and if they exist `label_scores`, `activation_stats`,
    `exemplars`, `cluster_members` and `cluster_labels`. Raises `Incomplete` without any labels."""
    names = (
        checked_or_empty(tables, CLUSTER_LABELS).filter("is_best").select(cluster_path="path", cluster_label="label")
    )
    members = checked_or_empty(tables, CLUSTER_MEMBERS).select("layer", "neuron", cluster_path="path")
    frames = {
        "descriptions": scored_labels(tables),
        "neurons": members.join(names, on="cluster_path", how="left"),
        "quantiles": checked_or_empty(tables, ACTIVATION_STATS),
        "exemplars": checked_or_empty(tables, EXEMPLARS),
    }
    return checked_contents(model, version, frames)


def _checked(name: str, frame: pl.DataFrame, model: SizedModel) -> pl.DataFrame:
    schema, key = PARTS[name]
    schema = {column: dtype for column, dtype in schema.items() if column != "is_preferred"}
    missing = [column for column in schema if column not in frame.columns]
    if missing:
        raise DamagedData(f"{name}: columns {', '.join(missing)} are missing; expected {', '.join(schema)}")
    try:
        frame = frame.select(pl.col(column).cast(dtype) for column, dtype in schema.items()).sort(key)
    except pl.exceptions.InvalidOperationError as error:
        raise DamagedData(f"{name}: a column does not fit its type: {error}") from error
    repeated = frame.height - frame.select(key).n_unique()
    if repeated:
        raise DamagedData(f"{name}: {repeated} rows repeat the key {', '.join(key)}")
    outside = frame.filter(
        ~(pl.col("layer").is_between(0, model.n_layers - 1) & pl.col("neuron").is_between(0, model.n_neurons - 1))
    )
    if outside.height:
        first = f"L{outside['layer'][0]}/N{outside['neuron'][0]}"
        raise DamagedData(
            f"{name}: {outside.height} rows name neurons that {model.model_id} does not have ({model.n_layers} layers of "
            f"{model.n_neurons}), the first {first}"
        )
    return frame
