"""What the UI shows of an asset can be made from any tables, empty ones included."""

from __future__ import annotations

import pytest

from neuron_atlas.core.tables import tables_of
from neuron_atlas.defs.checks.before_storing import CHECKS
from neuron_atlas.defs.metadata.asset_metadata import asset_metadata


@pytest.mark.parametrize("asset", CHECKS)
def test_empty_tables_have_metadata(asset: str):
    assert asset_metadata(asset, {table.name: table.empty() for table in tables_of(asset)})
