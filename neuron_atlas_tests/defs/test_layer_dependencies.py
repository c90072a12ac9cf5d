"""Layer order: one asset that depends on itself, one way only. These tests are the contract with the pinned Dagster."""

from __future__ import annotations

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuron_atlas.core.records import layer_key
from neuron_atlas.defs.layer_dependencies import allow_layer_order, earlier_layers, later_layers

LAYERS = [layer_key(layer) for layer in range(4)]
PARTITIONS = dg.StaticPartitionsDefinition(LAYERS)


def layered(name: str, mapping: dg.PartitionMapping) -> dg.AssetsDefinition:
    @dg.asset(name=name, partitions_def=PARTITIONS, deps=[dg.AssetDep(name, partition_mapping=mapping)])
    def asset() -> None: ...

    return asset


def upstream(mapping: dg.StaticPartitionMapping, key: str) -> list[str]:
    """The layers that one layer reads, as Dagster's daemon sees it."""
    subset = PARTITIONS.subset_with_partition_keys([key])
    result = mapping.get_upstream_mapped_partitions_result_for_partitions(subset, PARTITIONS, PARTITIONS)
    return sorted(result.partitions_subset.get_partition_keys())


def test_later_layers_are_read_from_the_last_down():
    assert [upstream(later_layers(LAYERS), key) for key in LAYERS] == [
        ["L01", "L02", "L03"],
        ["L02", "L03"],
        ["L03"],
        [],
    ]


def test_earlier_layers_are_read_from_the_first_up():
    assert [upstream(earlier_layers(LAYERS), key) for key in LAYERS] == [
        [],
        ["L00"],
        ["L00", "L01"],
        ["L00", "L01", "L02"],
    ]


@given(n=st.integers(1, 12), chosen=st.sets(st.integers(0, 11)))
def test_a_selection_with_gaps_keeps_its_order(n: int, chosen: set[int]):
    """Every layer waits for all chosen layers after it, not for its neighbour alone."""
    keys = [layer_key(layer) for layer in range(n)]
    waits = later_layers(keys).downstream_partition_keys_by_upstream_partition_key
    for upper in chosen & set(range(n)):
        assert {keys[lower] for lower in chosen if lower < upper} <= set(waits[keys[upper]])


def test_dagster_accepts_layer_order_and_sees_the_dependency():
    allow_layer_order()
    definitions = dg.Definitions(assets=[layered("labels", later_layers(LAYERS))])
    dg.Definitions.validate_loadable(definitions)
    graph = definitions.resolve_asset_graph()
    assert graph.get(dg.AssetKey("labels")).parent_keys == {dg.AssetKey("labels")}


def test_dagster_itself_still_refuses_what_could_run_in_a_circle():
    allow_layer_order()
    with pytest.raises(dg.DagsterInvalidDefinitionError, match="both ways"):
        layered("circle", dg.StaticPartitionMapping({"L00": ["L01"], "L01": ["L00"]}))
    with pytest.raises(dg.DagsterInvalidDefinitionError, match="both ways"):
        layered("itself", dg.StaticPartitionMapping({"L00": ["L00"]}))
    with pytest.raises(dg.DagsterInvalidDefinitionError, match="depends on itself"):
        layered("same", dg.IdentityPartitionMapping())


def test_the_override_is_in_place_once():
    from dagster._core.definitions.assets.definition import assets_definition

    allow_layer_order()
    first = assets_definition._validate_self_deps
    allow_layer_order()
    assert assets_definition._validate_self_deps is first


def test_automation_starts_each_layer_only_after_the_ones_it_reads(instance: dg.DagsterInstance):
    """Dagster's own automation, asked tick by tick, requests L03, then L02 … and never two layers at once."""
    allow_layer_order()

    @dg.asset(
        name="labels",
        partitions_def=PARTITIONS,
        deps=[dg.AssetDep("labels", partition_mapping=later_layers(LAYERS))],
        automation_condition=dg.AutomationCondition.missing() & ~dg.AutomationCondition.any_deps_missing(),
    )
    def labels() -> None: ...

    definitions = dg.Definitions(assets=[labels])
    cursor, order = None, []
    for _ in range(len(LAYERS) + 1):
        result = dg.evaluate_automation_conditions(defs=definitions, instance=instance, cursor=cursor)
        cursor = result.cursor
        requested = sorted(result.get_requested_partitions(dg.AssetKey("labels")))
        order.append(requested)
        for key in requested:
            assert dg.materialize([labels], partition_key=key, instance=instance).success
    assert order == [["L03"], ["L02"], ["L01"], ["L00"], []]
