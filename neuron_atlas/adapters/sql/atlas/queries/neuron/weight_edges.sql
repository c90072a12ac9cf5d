-- Later neurons that a neuron would drive through the weights alone, and in how many prompts' graphs it was seen to.
SELECT
    w.direction,
    w.rank,
    'L' || w.target_layer || '/N' || w.target AS other,
    w.target_layer AS layer,
    w.target AS neuron,
    coalesce(n.output_label, n.label) AS label,
    w.gate, w.up, w.strength,
    coalesce(e.n_prompts, 0) AS n_prompts
FROM weight_edges AS w
LEFT JOIN neurons AS n ON n.layer = w.target_layer AND n.neuron = w.target
LEFT JOIN edge_stats AS e
    ON e.source_kind = 'neuron' AND e.source_layer = w.layer AND e.source = w.neuron
    AND e.target_kind = 'neuron' AND e.target_layer = w.target_layer AND e.target = w.target
WHERE w.layer = $layer AND w.neuron = $neuron AND w.rank < $limit
ORDER BY w.direction DESC, w.rank
