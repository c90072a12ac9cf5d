-- A neuron's edges, labeled at the far end: of neurons the label, of embeddings and logits the token.
WITH ends AS (
    SELECT 'upstream' AS direction, source_kind AS kind, source_layer AS layer, source AS neuron,
        weight_mean, sign_agreement, n, n_prompts, frequency, flow_mean, flow_abs_mean
    FROM edge_stats
    WHERE $direction <> 'downstream' AND target_kind = 'neuron' AND target_layer = $layer AND target = $neuron
    UNION ALL
    SELECT 'downstream', target_kind, target_layer, target,
        weight_mean, sign_agreement, n, n_prompts, frequency, flow_mean, flow_abs_mean
    FROM edge_stats
    WHERE $direction <> 'upstream' AND source_kind = 'neuron' AND source_layer = $layer AND source = $neuron
)
SELECT
    e.direction,
    e.kind,
    CASE WHEN e.kind = 'neuron' THEN 'L' || e.layer || '/N' || e.neuron ELSE coalesce(v.token, '#' || e.neuron) END AS other,
    e.layer,
    e.neuron,
    CASE WHEN e.kind = 'neuron' THEN coalesce(n.output_label, n.label) END AS label,
    e.weight_mean, e.sign_agreement, e.n, e.n_prompts, e.frequency, e.flow_mean, e.flow_abs_mean
FROM ends AS e
LEFT JOIN neurons AS n ON e.kind = 'neuron' AND n.layer = e.layer AND n.neuron = e.neuron
LEFT JOIN vocabulary AS v ON e.kind <> 'neuron' AND v.token_id = e.neuron
ORDER BY e.n * e.flow_abs_mean DESC, e.direction DESC, e.kind, e.layer, e.neuron
LIMIT $limit
