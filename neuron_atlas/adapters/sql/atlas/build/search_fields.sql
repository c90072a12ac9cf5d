-- What full-text search looks at: one row per neuron and field; `weight` is how much a word in it counts.
SELECT layer, neuron, 4.0 AS weight, label AS text FROM neuron_labels WHERE label IS NOT NULL
UNION ALL
SELECT layer, neuron, 1.0, description FROM neuron_labels WHERE description IS NOT NULL
UNION ALL
SELECT layer, neuron, 2.0, array_to_string(promotes, ' ') FROM neurons WHERE promotes IS NOT NULL
UNION ALL
SELECT layer, neuron, 1.0, array_to_string(tokens, ' ') FROM neuron_labels WHERE len(tokens) > 0
UNION ALL
SELECT layer, neuron, 1.0, cluster_label FROM neurons WHERE cluster_label IS NOT NULL
UNION ALL
SELECT layer, neuron, 1.0, domain FROM neurons WHERE domain IS NOT NULL
ORDER BY ALL
