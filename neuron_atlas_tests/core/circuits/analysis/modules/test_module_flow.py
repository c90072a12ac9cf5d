"""Flow between parts: signs kept, nothing lost."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuron_atlas.core.attribution.effects.edge_flow import edge_flows
from neuron_atlas.core.circuits.analysis.modules.graph_modules import cluster_graph
from neuron_atlas.core.circuits.analysis.modules.module_flow import module_flows, module_traffic


def test_links_between_two_modules_add_up_with_their_signs(written) -> None:
    """Relevances are 1, so flow = weight: +2 and -0.5 from module 1 to module 2, +1 onward to the answer."""
    links = [
        ("@0", "L0/N0@0", 1.0),
        ("L0/N0@0", "L1/N0@0", 2.0),
        ("L0/N1@0", "L1/N0@0", -0.5),
        ("L1/N0@0", "=yes", 1.0),
    ]
    graph = written([" a"], links)
    members = pl.DataFrame({"node": [1, 2, 3], "module": [1, 1, 2]}, schema={"node": pl.Int32, "module": pl.Int32})
    flows = module_flows(graph, members)
    assert flows.rows() == [
        ("module", 1, "module", 2, 1.5, 2.5, 2),
        ("module", 2, "answer", 0, 1.0, 1.0, 1),
        ("token", 0, "module", 1, 1.0, 1.0, 1),
    ]
    assert module_traffic(flows).rows() == [(1, 1.0, 2.5, 0.0), (2, 2.5, 1.0, 0.0)]


def test_neurons_in_no_module_are_the_rest(two_jobs) -> None:
    flows = module_flows(two_jobs, cluster_graph(two_jobs, special_ids={0}).members)
    assert set(flows.filter(pl.col("source_kind") == "rest")["target_kind"]) == {"answer"}
    total = edge_flows(two_jobs)["flow"]
    assert flows["flow_abs"].sum() == pytest.approx(total.abs().sum())
    assert flows["flow"].sum() == pytest.approx(total.sum())
    assert flows["n_links"].sum() == two_jobs.edges.height


@given(st.lists(st.integers(0, 3), min_size=14, max_size=14))
def test_however_neurons_are_grouped_no_flow_is_lost(groups) -> None:
    graph = _graph()
    nodes = graph.nodes.filter(pl.col("kind") == "neuron")["node"]
    members = pl.DataFrame({"node": nodes, "module": pl.Series([g or None for g in groups], dtype=pl.Int32)})
    flows = module_flows(graph, members)
    assert flows["flow_abs"].sum() == pytest.approx(edge_flows(graph)["flow"].abs().sum())
    modules = {g for g in groups if g}
    traffic = module_traffic(flows)
    assert set(traffic["module"]) <= modules
    assert (traffic.select("flow_in", "flow_out", "within").to_numpy() >= 0).all()


def _graph():
    from neuron_atlas_tests.core.circuits.analysis.conftest import graph_of

    links = [("@0", f"L0/N{n}@0", 1.0) for n in range(7)]
    links += [(f"L0/N{n}@0", f"L1/N{m}@0", n - m + 0.5) for n in range(7) for m in range(7)]
    return graph_of([" a"], [*links, *((f"L1/N{m}@0", "=yes", 1.0) for m in range(7))])
