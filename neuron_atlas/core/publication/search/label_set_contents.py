"""All that a search database holds of one model under one label version, as frames: what is loaded, exported and imported."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from neuron_atlas.core.publication.search.descriptions import DESCRIPTION, KEY, described, preferred, whole
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
    "descriptions": (DESCRIPTION, KEY),
    "neurons": (NEURON, ("layer", "neuron")),
    "quantiles": (QUANTILE, ACTIVATION_STATS.key),
    "exemplars": (EXEMPLAR, EXEMPLARS.key),
}
"""The frames of `Contents` by name: columns and key."""


@dataclass(frozen=True, slots=True)
class SizedModel:
    """What a model is called, which one exactly, and how many neurons it has (`n_neurons` per layer)."""

    model_id: str
    revision: str
    n_layers: int
    n_neurons: int

    @classmethod
    def of(cls, spec: ModelSpec) -> SizedModel:
        """The same of a model's whole description."""
        return cls(spec.model_id, spec.revision, spec.n_layers, spec.n_neurons)


@dataclass(frozen=True)
class Contents:
    """The frames of `PARTS` with the model and the name of the label version they belong to."""

    model: SizedModel
    version: str
    descriptions: pl.DataFrame
    neurons: pl.DataFrame
    quantiles: pl.DataFrame
    exemplars: pl.DataFrame

    def checked(self) -> Contents:
        """The same in key order, every neuron listed, the preferred labeler worked out.

        Raises `DamagedData` for wrong columns or types, a repeated key, or a neuron that the model does not have.
        """
        frames = {name: _checked(name, frame, self.model) for name, frame in self.frames().items()}
        every = pl.concat([frame.select("layer", "neuron") for frame in frames.values()]).unique()
        frames["neurons"] = every.join(frames["neurons"], on=["layer", "neuron"], how="left").sort("layer", "neuron")
        frames["descriptions"] = preferred(frames["descriptions"])
        return Contents(self.model, self.version, **frames)

    def frames(self) -> dict[str, pl.DataFrame]:
        """The frames by name, in the order of `PARTS`."""
        return {name: getattr(self, name) for name in PARTS}


def contents_of(tables: Tables, *, model: SizedModel, version: str) -> Contents:
    """What our own tables say: `output_labels` or `input_labels` or both, and if they exist `label_scores`, `activation_stats`,
    `exemplars`, `cluster_members` and `cluster_labels`. Raises `Incomplete` without any labels."""
    names = whole(tables, CLUSTER_LABELS).filter("is_best").select(cluster_path="path", cluster_label="label")
    members = whole(tables, CLUSTER_MEMBERS).select("layer", "neuron", cluster_path="path")
    return Contents(
        model,
        version,
        described(tables),
        members.join(names, on="cluster_path", how="left").select(list(NEURON)),
        whole(tables, ACTIVATION_STATS).select(list(QUANTILE)),
        whole(tables, EXEMPLARS).select(list(EXEMPLAR)),
    ).checked()


def _checked(name: str, frame: pl.DataFrame, model: SizedModel) -> pl.DataFrame:
    schema, key = PARTS[name]
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
