"""What filters and views need to know: of a model's neurons (`NeuronFacts`, from an atlas or a NeuronDB) and of the text at hand
(`Reading`, from the model)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from neuron_atlas.core.labeling.evidence.precedence import labeler_rank
from neuron_atlas.core.ports import Array, Embedder
from neuron_atlas.core.publication.filters.filter_classes import TAILS, Goal
from neuron_atlas.core.publication.filters.selection import Size
from neuron_atlas.core.publication.search.label_records import text_to_embed
from neuron_atlas.core.tables import QUANTILE_LEVELS
from neuron_atlas.errors import BadInput, DamagedData

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
"""One row per neuron, polarity, side and labeler that has a label; `score` is corrected for chance, missing where not measured."""
MODULE_COLUMNS = pl.Schema({"layer": pl.Int16(), "neuron": pl.Int32(), "path": pl.String(), "name": pl.String()})
"""The finest module of a neuron, and what it is called (missing when unlabeled)."""


class LabelSimilarity(Protocol):
    """Texts compared by meaning."""

    def similarities(self, question: str, labels: pl.Series) -> Array:
        """Cosine [n] of a question with each of n labels."""
        ...

    def vectors(self, labels: Sequence[str]) -> Array:
        """Unit vectors [n, d] of labels."""
        ...


@dataclass(frozen=True)
class NeuronFacts:
    """What is known of a model's neurons.

    `descriptions` and `modules` have the columns above; `quantiles` [15, L, I] are activations at `QUANTILE_LEVELS`, NaN where no
    corpus was read; `meaning` compares descriptions by meaning, None where no embedder is at hand. Raises `DamagedData` for a
    description of a neuron that the model does not have.
    """

    model_revision: str
    n_layers: int
    n_neurons: int
    descriptions: pl.DataFrame
    quantiles: Array
    modules: pl.DataFrame
    meaning: LabelSimilarity | None = None

    def __post_init__(self) -> None:
        for name, frame in (("description", self.descriptions), ("module", self.modules)):
            outside = frame.filter(
                ~pl.col("layer").is_between(0, self.n_layers - 1) | ~pl.col("neuron").is_between(0, self.n_neurons - 1)
            )
            if outside.height:
                raise DamagedData(
                    f"{outside.height} {name}s are of neurons outside a model of {self.n_layers} layers of {self.n_neurons}, "
                    f"first L{outside['layer'][0]}/N{outside['neuron'][0]}; build the atlas of this model again"
                )

    @classmethod
    def nothing(cls, *, model_revision: str, n_layers: int, n_neurons: int) -> NeuronFacts:
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
        """One description per neuron and polarity: output side before input, then the most trusted labeler, then by version."""
        key = ("layer", "neuron", "polarity")
        return self.descriptions.sort(*key, pl.col("side") == "input", labeler_rank(), "labeler", "version").unique(
            key, keep="first", maintain_order=True
        )


@dataclass(frozen=True)
class Reading:
    """A model's state after reading a text of T tokens: activations [L, T, I], and the relevance [L, T, I] of every instance
    to a goal (in logits, computed on demand).

    `is_counted` [T] says which tokens are of the kind that quantiles were counted over: special ones, such as the first of a
    text, are not, and activations there are out of all proportion.
    """

    token_ids: tuple[int, ...]
    tokens: tuple[str, ...]
    is_counted: NDArray[np.bool_]
    activations: Array
    relevance: Callable[[Goal], Array]

    @property
    def size(self) -> Size:
        """How many items there are."""
        n_layers, n_positions, n_neurons = self.activations.shape
        return Size(n_positions, n_layers, n_neurons)

    def position(self, position: int) -> int:
        """A position counted from the start; raises `BadInput` outside the text."""
        length = len(self.token_ids)
        if not -length <= position < length:
            raise BadInput(
                f"position {position} is outside the text's {length} tokens; expected {-length} to {length - 1}"
            )
        return position % length


class EmbeddedLabels:
    """LabelSimilarity by a sentence embedder: every distinct label is embedded once, when it is first needed.

    `progress(done, total)` is told of long work.
    """

    def __init__(self, embedder: Embedder, *, progress: Callable[[int, int], None] | None = None) -> None:
        self._embedder, self._progress = embedder, progress
        self._places: dict[str, int] = {}
        self._vectors: Array = np.zeros((0, embedder.dimension), np.float32)

    def similarities(self, question: str, labels: pl.Series) -> Array:
        """Cosine [n] of a question with each of n labels."""
        distinct = labels.unique(maintain_order=True)
        similarity = self.vectors(distinct.to_list()) @ self._embedder.embed([question])[0]
        return labels.replace_strict(distinct, pl.Series(similarity), return_dtype=pl.Float32).to_numpy()

    def vectors(self, labels: Sequence[str]) -> Array:
        """Unit vectors [n, d] of labels."""
        fresh = [label for label in dict.fromkeys(labels) if label not in self._places]
        found: list[Array] = []
        for start in range(0, len(fresh), EMBEDDED_AT_ONCE):
            found.append(
                self._embedder.embed([text_to_embed(label) for label in fresh[start : start + EMBEDDED_AT_ONCE]])
            )
            if self._progress is not None:
                self._progress(min(start + EMBEDDED_AT_ONCE, len(fresh)), len(fresh))
        self._vectors = np.concatenate([self._vectors, *found])
        self._places |= {label: len(self._places) + place for place, label in enumerate(fresh)}
        return self._vectors[[self._places[label] for label in labels]]


EMBEDDED_AT_ONCE = 256
"""Labels of one call to the embedder."""


def quantile_array(rows: pl.DataFrame, *, n_layers: int, n_neurons: int) -> Array:
    """Rows (layer, neuron, quantiles: list at `QUANTILE_LEVELS`) as an array [15, L, I], NaN where there is no row."""
    found = no_quantiles(n_layers, n_neurons)
    if rows.height:
        values = rows["quantiles"].cast(pl.List(pl.Float32)).list.to_array(len(QUANTILE_LEVELS)).to_numpy()
        found[:, rows["layer"].to_numpy(), rows["neuron"].to_numpy()] = values.T
    return found


def no_quantiles(n_layers: int, n_neurons: int) -> Array:
    """Quantiles of a model whose activations nobody has counted."""
    return np.full((len(QUANTILE_LEVELS), n_layers, n_neurons), np.nan, np.float32)
