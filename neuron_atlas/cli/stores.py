"""Opening what was built, from the settings: the one place of the command line that knows where things lie."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from neuron_atlas.settings import load_settings

if TYPE_CHECKING:
    from neuron_atlas.adapters.atlas_duckdb import Atlas


def atlas(path: Path | None = None) -> Atlas:
    """The atlas file at `path`, or the one of the settings."""
    from neuron_atlas.adapters.atlas_duckdb import open_atlas

    return open_atlas(path or load_settings().atlas)
