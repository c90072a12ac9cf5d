"""What the assets are partitioned by: prompt sets, text corpora, layers.

All three are static and read when the definitions load (a folder listing and the model's config.json, nothing heavy), so
that `--partition geography` works on an instance that has never run anything. After adding a prompt set, reload the
definitions; the sensor in automation.py says when they are behind the folder.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import dagster as dg

from neuron_atlas.adapters.datasets.corpora import list_corpora
from neuron_atlas.adapters.datasets.prompt_sets import list_prompt_sets
from neuron_atlas.adapters.subject_model.config import read_model_config
from neuron_atlas.core.records import layer_key
from neuron_atlas.defs.asset_registry import Partitioning
from neuron_atlas.defs.layer_dependencies import earlier_layers, later_layers
from neuron_atlas.settings import Settings


@dataclass(frozen=True)
class Partitions:
    """The partition keys of one atlas, as Dagster sees them."""

    prompt_set_names: tuple[str, ...]
    corpus_names: tuple[str, ...]
    layer_names: tuple[str, ...]

    def keys(self, by: Partitioning | None) -> list[str | None]:
        """The partition keys of one kind, in order; `[None]` for an asset in one piece."""
        if by is None:
            return [None]
        return list({"prompt_set": self.prompt_set_names, "corpus": self.corpus_names, "layer": self.layer_names}[by])

    @cached_property
    def prompt_sets(self) -> dg.StaticPartitionsDefinition:
        """One partition per file of the prompt folder."""
        return dg.StaticPartitionsDefinition(list(self.prompt_set_names))

    @cached_property
    def corpora(self) -> dg.StaticPartitionsDefinition:
        """One partition per text file of the corpus folder."""
        return dg.StaticPartitionsDefinition(list(self.corpus_names))

    @cached_property
    def layers(self) -> dg.StaticPartitionsDefinition:
        """One partition per layer of the model, `L00` first."""
        return dg.StaticPartitionsDefinition(list(self.layer_names))

    @cached_property
    def later_layers(self) -> dg.StaticPartitionMapping:
        """A layer reads all layers after it."""
        return later_layers(self.layer_names)

    @cached_property
    def layers_up_to(self) -> dg.StaticPartitionMapping:
        """A layer reads, of another asset, the same layer and all layers before it."""
        keys = self.layer_names
        return dg.StaticPartitionMapping({key: list(keys[i:]) for i, key in enumerate(keys)})

    @cached_property
    def earlier_layers(self) -> dg.StaticPartitionMapping:
        """A layer reads all layers before it."""
        return earlier_layers(self.layer_names)


def read_partitions(settings: Settings) -> Partitions:
    """Partition keys from the prompt folder, the corpus folder and the model's config.

    Raises `BadInput` naming the setting to correct when one of them cannot be read.
    """
    n_layers = read_model_config(settings.model).n_layers
    return Partitions(
        prompt_set_names=tuple(list_prompt_sets(settings.prompts)),
        corpus_names=tuple(list_corpora(settings.corpora)),
        layer_names=tuple(layer_key(layer) for layer in range(n_layers)),
    )
