"""What people did to a graph in a viewer, to and from `qParams`: pinned nodes, and groups of nodes with a name.

In a document nodes go by id; a group (`supernodes`) is a list of its name and its nodes' ids. Ids of nodes that were not kept
(errors, unknown types) are left out, and so is a group that has none left or another form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from neuron_atlas.core.attribution.exchange.schema import Parameters
from neuron_atlas.core.json_types import JsonObject, JsonValue
from neuron_atlas.core.records import Arrangement


def read_arrangement(parameters: Parameters, node_ids: Sequence[str]) -> Arrangement:
    """Pins and groups of a document, by place among the nodes that are kept."""
    places = {node_id: place for place, node_id in enumerate(node_ids)}

    def placed(ids: Sequence[str]) -> tuple[int, ...]:
        return tuple(dict.fromkeys(places[node_id] for node_id in ids if node_id in places))

    groups = [(group[0], placed(group[1:])) for group in map(_texts, parameters.supernodes) if group]
    return Arrangement(placed(parameters.pinned_ids), tuple(group for group in groups if group[1]))


def write_arrangement(arrangement: Arrangement, names: Mapping[int, str]) -> JsonObject:
    """`pinnedIds` and `supernodes` of a document; `names` are the ids of nodes."""
    groups: list[JsonValue] = [[name, *(names[node] for node in nodes)] for name, nodes in arrangement.groups]
    return {"pinnedIds": [names[node] for node in arrangement.pinned], "supernodes": groups}


def _texts(group: object) -> list[str]:
    """A group as texts; empty where it is something else."""
    if not isinstance(group, list):
        return []
    parts = cast("list[object]", group)
    return [part for part in parts if isinstance(part, str)] if all(isinstance(part, str) for part in parts) else []
