"""What filters and views need to know of a model's neurons: labels, modules, quantiles of their activations. An atlas and a
NeuronDB both give it (`known()`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import polars as pl

from neuron_atlas.core.labeling.evidence.shown_label import labeler_rank
from neuron_atlas.core.ports import Array
from neuron_atlas.core.publication.filters.filter_classes import TAILS
from neuron_atlas.core.tables import QUANTILE_LEVELS
from neuron_atlas.errors import DamagedData

LABEL_COLUMNS = pl.Schema(
    {
        "layer": pl.Int16(),
        "neuron": pl.Int32(),
        "polarity": pl.Int8(),
        "side": pl.String(),
        "labeler": pl.String(),
        "version": pl.String(),
        "label": pl.String(),
        "description": pl.String(),
        "tokens": pl.List(pl.String()),
        "type": pl.String(),
        "score": pl.Float32(),
        "interpretability": pl.String(),
    }
)
"""A label record as filters see it: one row per neuron, polarity, side and labeler that has a label; `score` is corrected for
chance, missing where not measured."""
MODULE_COLUMNS = pl.Schema({"layer": pl.Int16(), "neuron": pl.Int32(), "path": pl.String(), "name": pl.String()})
"""The finest module of a neuron, and what it is called (missing when unlabeled)."""


class LabelSimilarity(Protocol):
    """Labels compared by meaning, through their vectors."""

    def similarities(self, question: str, labels: pl.Series) -> Array:
        """Cosine [n] of a question with each of n labels."""
        ...

    def vectors(self, labels: Sequence[str]) -> Array:
        """Unit vectors [n, d] of labels."""
        ...


@dataclass(frozen=True)
class NeuronFacts:
    """What is known of a model's neurons.

    `descriptions` are the label records (`LABEL_COLUMNS`), `modules` the modules (`MODULE_COLUMNS`); `quantiles` [15, L, I] are
    activations at `QUANTILE_LEVELS`, NaN where no corpus was read; `meaning` compares labels by meaning, None where no embedder is
    at hand. Raises `DamagedData` for a label or module of a neuron that the model does not have.
    """

    model_revision: str
    n_layers: int
    n_neurons: int
    descriptions: pl.DataFrame
    quantiles: Array
    modules: pl.DataFrame
    meaning: LabelSimilarity | None = None

    def __post_init__(self) -> None:
        for name, frame in (("label", self.descriptions), ("module", self.modules)):
            outside = frame.filter(
                ~pl.col("layer").is_between(0, self.n_layers - 1) | ~pl.col("neuron").is_between(0, self.n_neurons - 1)
            )
            if outside.height:
                raise DamagedData(
                    f"{outside.height} {name}s are of neurons outside a model of {self.n_layers} layers of {self.n_neurons}, "
                    f"first L{outside['layer'][0]}/N{outside['neuron'][0]}; build the atlas of this model again"
                )

    @classmethod
    def empty(cls, *, model_revision: str, n_layers: int, n_neurons: int) -> NeuronFacts:
        """A model of which nothing is known but its sizes."""
        return cls(
            model_revision,
            n_layers,
            n_neurons,
            LABEL_COLUMNS.to_frame(),
            no_quantiles(n_layers, n_neurons),
            MODULE_COLUMNS.to_frame(),
        )

    @cached_property
    def searched(self) -> pl.Series:
        """What keywords and patterns look through: label, description and tokens of each row, lower-case."""
        parts = pl.concat_str(
            "label", "description", pl.col("tokens").list.join(" "), separator="\n", ignore_nulls=True
        )
        return self.descriptions.select(searched=parts.str.to_lowercase())["searched"]

    def tail(self, level: float, *, polarity: int) -> Array:
        """The limit [L, I] of a tail: the quantile 1 - level for polarity +1, level for -1."""
        return self.quantiles[TAILS[level][0 if polarity > 0 else 1]]

    @property
    def missing_quantiles(self) -> int:
        """How many neurons have no quantiles: no quantile filter can find them, nothing can steer them."""
        return int(np.isnan(self.quantiles[0]).sum())

    @cached_property
    def best(self) -> pl.DataFrame:
        """One label record per neuron and polarity: output side before input, then the most trusted labeler, then by version."""
        key = ("layer", "neuron", "polarity")
        return self.descriptions.sort(*key, pl.col("side") == "input", labeler_rank(), "labeler", "version").unique(
            key, keep="first", maintain_order=True
        )


def quantile_array(rows: pl.DataFrame, *, n_layers: int, n_neurons: int) -> Array:
    """Rows (layer, neuron, quantiles: list at `QUANTILE_LEVELS`) as an array [15, L, I], NaN where there is no row."""
    found = no_quantiles(n_layers, n_neurons)
    if rows.height:
        values = rows["quantiles"].cast(pl.List(pl.Float32)).list.to_array(len(QUANTILE_LEVELS)).to_numpy()
        found[:, rows["layer"].to_numpy(), rows["neuron"].to_numpy()] = values.T
    return found


def no_quantiles(n_layers: int, n_neurons: int) -> Array:
    """Quantiles of a model whose activations were not counted over any corpus."""
    return np.full((len(QUANTILE_LEVELS), n_layers, n_neurons), np.nan, np.float32)
