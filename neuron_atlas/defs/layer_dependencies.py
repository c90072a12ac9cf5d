"""Layer after layer inside one partitioned asset.

A label of layer 7 reads the labels of the layers after it (output side) or before it (input side), so the asset depends on
itself, partition by partition. Dagster's backfill daemon, staleness and declarative automation handle such a dependency
for every built-in partition mapping (in a backfill, a layer starts only when the layers it reads have been materialized);
only a check made when an asset is defined, `_validate_self_deps`, restricts it to time windows, because a mapping that
could run in a circle would never end. A `StaticPartitionMapping` that always points the same way along the layers cannot
run in a circle. So `allow_layer_order` lets exactly those through and leaves every other case to Dagster's own check.

The check is private, hence the exact pin of dagster in pyproject.toml and the contract tests in
neuron_atlas_tests/defs/test_layer_dependencies.py. This file can go when Dagster accepts monotone static self-dependencies.
Every layer maps to *all* layers it may read, not to its neighbour alone, so that a selection with gaps keeps its order.
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
    place = {key: i for i, key in enumerate(spec.partitions_def.get_partition_keys())}
    steps = {
        place[downstream] - place[upstream]
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
