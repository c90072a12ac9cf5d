"""Which neurons a graph leaves out: those named, and those that an atlas of the same model found in nearly every graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuron_atlas.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def excluded_neurons(named: Sequence[str], *, always_on: float | None, path: Path, model_id: str) -> tuple[str, ...]:
    """Neurons to leave out, in text form: the named ones, and with a share `always_on` those that are nodes of at least so many of
    the atlas's graphs. Raises `BadInput` where there is no atlas, or it is of another model."""
    if always_on is None:
        return tuple(dict.fromkeys(named))
    if not path.exists():
        raise BadInput(
            f"--skip-always-on needs statistics of many graphs, but there is no atlas at {path} yet; build one with "
            "`neuron-atlas materialize`, or name the neurons with --exclude"
        )
    from neuron_atlas.adapters.atlas_duckdb import open_atlas
    from neuron_atlas.adapters.subject_model.config import find_folder
    from neuron_atlas.adapters.subject_model.load import model_revision

    revision = model_revision(find_folder(model_id))
    with open_atlas(path) as atlas:
        built_on = atlas.metadata.get("model_revision", "")
        if built_on != revision:
            raise BadInput(
                f"the atlas at {path} was built on another model ({built_on[:12]}, not {revision[:12]}), so its statistics are "
                "of other neurons. Build an atlas of this model, or name the neurons with --exclude"
            )
        found = atlas.always_on(always_on)["neuron_id"].to_list()
    return tuple(dict.fromkeys((*named, *found)))
