"""What must hold inside an atlas before anyone may read it: each check selects the rows that break it."""

from __future__ import annotations

import duckdb

from neuron_atlas.errors import DamagedData

CHECKS: dict[str, str] = {
    "every member's cluster exists": """
        SELECT layer, neuron, path FROM cluster_members
        WHERE path IS NOT NULL AND path NOT IN (SELECT path FROM clusters)""",
    "every labeled cluster exists": "SELECT path FROM cluster_labels WHERE path NOT IN (SELECT path FROM clusters)",
    "every profiled neuron's cluster exists": """
        SELECT layer, neuron, polarity, cluster FROM profile_members
        WHERE cluster IS NOT NULL AND cluster NOT IN (SELECT cluster FROM profile_clusters)""",
    "every analysed neuron's module exists": """
        SELECT analysis, layer, neuron, module FROM analysis_members
        WHERE module IS NOT NULL AND (analysis, module) NOT IN (SELECT (analysis, module) FROM analysis_modules)""",
    "every labeled cluster has one best label": """
        SELECT path FROM cluster_labels GROUP BY path HAVING count(*) FILTER (is_best) <> 1""",
    "every cluster has as many members as it says": """
        SELECT c.path, c.size, count(m.neuron) AS members
        FROM clusters AS c
        LEFT JOIN cluster_members AS m ON m.path = c.path OR starts_with(m.path, c.path || '.')
        GROUP BY c.path, c.size HAVING count(m.neuron) <> c.size""",
    "every score belongs to a label": """
        SELECT layer, neuron, polarity, labeler, side FROM label_scores
        WHERE metric <> 'projection_rank' AND (layer, neuron, polarity, labeler, side) NOT IN (
            SELECT (layer, neuron, polarity, labeler, 'output') FROM output_labels
            UNION ALL SELECT (layer, neuron, polarity, labeler, 'input') FROM input_labels)""",
    "every neuron is one the model has": """
        SELECT neuron_id FROM neurons
        WHERE layer < 0 OR neuron < 0
            OR layer >= coalesce((SELECT value::INTEGER FROM metadata WHERE key = 'n_layers'), 32767)
            OR neuron >= coalesce((SELECT value::INTEGER FROM metadata WHERE key = 'n_neurons'), 2147483647)""",
    "every graph edge joins nodes of its graph": """
        SELECT e.prompt_id, e.source, e.target FROM graph_edges AS e
        WHERE NOT EXISTS (FROM graph_nodes AS n WHERE n.prompt_id = e.prompt_id AND n.node = e.source)
            OR NOT EXISTS (FROM graph_nodes AS n WHERE n.prompt_id = e.prompt_id AND n.node = e.target)""",
    "every graph's nodes have their prompt": """
        SELECT DISTINCT prompt_id FROM graph_nodes WHERE prompt_id NOT IN (SELECT prompt_id FROM graphs)""",
    "every neuron stands once": "SELECT layer, neuron FROM neurons GROUP BY layer, neuron HAVING count(*) > 1",
}


def check_integrity(connection: duckdb.DuckDBPyConnection) -> None:
    """Run every check; raises `DamagedData` naming the first that fails, how many rows break it, and one of them."""
    for expectation, sql in CHECKS.items():
        count, example = connection.execute(f"SELECT count(*), min(broken::VARCHAR) FROM ({sql}) AS broken").fetchall()[
            0
        ]
        if count:
            raise DamagedData(
                f"the atlas would contradict itself: expected that {expectation}; {count} rows break this, e.g. {example}. "
                "Rematerialize the assets these tables come from, then build again"
            )
