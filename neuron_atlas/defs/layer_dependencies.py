"""Layer after layer inside one partitioned asset.

A label of layer 7 reads the labels of the layers after it (output side) or before it (input side), so the asset depends on
itself, partition by partition. Every layer maps to *all* layers it may read, not to its neighbour alone, so that a selection of
layers with gaps keeps its order.

This is the one place that overrides something private of Dagster.

- What: `_validate_self_deps` in `dagster._core.definitions.assets.definition.assets_definition`, a check made when an asset is
  defined. It refuses every asset that depends on itself, unless its partitions are time windows.
- Why: Dagster's backfill daemon, staleness and declarative automation handle such a dependency with any built-in partition
  mapping (in a backfill, a layer starts only when the layers it reads have been materialized). The check is there because a
  mapping that leads back to a partition itself would never end. A `StaticPartitionMapping` that always points the same
  way along the layers cannot. `allow_layer_order` lets exactly those pass and leaves every other case to Dagster's own check.
- What holds it: dagster is pinned exactly in pyproject.toml, and neuron_atlas_tests/defs/test_layer_dependencies.py tests that the
  override is in place, that Dagster runs layers in order, and that it still refuses mappings that point both ways.
- How to lift it: when a Dagster release accepts such assets (the test `test_dagster_accepts_layer_order_and_sees_the_dependency`
  passes with the call of `allow_layer_order` removed), delete `allow_layer_order`, `is_one_way`, their tests and the call in
  defs/assets/labeling.py; `later_layers` and `earlier_layers` stay; then loosen the pin.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import dagster as dg
from dagster._core.definitions.assets.definition import assets_definition as _dagster_assets


def later_layers(keys: Sequence[str]) -> dg.StaticPartitionMapping:
    """Every layer reads all layers after it: runs go from the last layer down. `keys` are in layer order."""
    return dg.StaticPartitionMapping({key: list(keys[:i]) for i, key in enumerate(keys)})


def earlier_layers(keys: Sequence[str]) -> dg.StaticPartitionMapping:
    """Every layer reads all layers before it: runs go from the first layer up. `keys` are in layer order."""
    return dg.StaticPartitionMapping({key: list(keys[i + 1 :]) for i, key in enumerate(keys)})


def is_one_way(spec: dg.AssetSpec) -> bool:
    """Whether an asset's dependency on itself always points the same way along its partitions.

    False when it does not depend on itself through a `StaticPartitionMapping`; raises
    `dagster.DagsterInvalidDefinitionError` when it does, but points both ways.
    """
    mappings = [
        dep.partition_mapping
        for dep in spec.deps
        if dep.asset_key == spec.key and isinstance(dep.partition_mapping, dg.StaticPartitionMapping)
    ]
    if not mappings or not isinstance(spec.partitions_def, dg.StaticPartitionsDefinition):
        return False
    index = {key: i for i, key in enumerate(spec.partitions_def.get_partition_keys())}
    steps = {
        index[downstream] - index[upstream]
        for mapping in mappings
        for upstream, reached in mapping.downstream_partition_keys_by_upstream_partition_key.items()
        for downstream in ([reached] if isinstance(reached, str) else reached)
    }
    if not (all(step > 0 for step in steps) or all(step < 0 for step in steps)):
        raise dg.DagsterInvalidDefinitionError(
            f"asset {spec.key.to_user_string()!r} depends on itself both ways along its partitions; a layer may read "
            "only later layers (later_layers) or only earlier ones (earlier_layers)"
        )
    return True


def allow_layer_order() -> None:
    """Let Dagster define assets that depend on themselves in layer order; calling it again changes nothing."""
    check = _dagster_assets._validate_self_deps
    if getattr(check, "allows_layer_order", False):
        return

    def validate(specs: Iterable[dg.AssetSpec]) -> None:
        check([spec for spec in specs if not is_one_way(spec)])

    validate.allows_layer_order = True  # pyright: ignore[reportFunctionMemberAccess]
    _dagster_assets._validate_self_deps = validate
