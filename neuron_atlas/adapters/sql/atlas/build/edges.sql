-- Neuron-to-neuron edges over all prompts; sums are of instances. Graph by graph they are in graph_edges.
CREATE VIEW edges AS
SELECT
    source_layer AS src_layer,
    source AS src_neuron,
    target_layer AS tgt_layer,
    target AS tgt_neuron,
    n AS count,
    n_prompts,
    frequency,
    weight_mean::DOUBLE * n AS weight_sum,
    weight_abs_mean::DOUBLE * n AS weight_abs_sum,
    (weight_std::DOUBLE * weight_std + weight_mean::DOUBLE * weight_mean) * n AS weight_sq_sum,
    weight_min,
    weight_max,
    weight_mean AS mean_weight,
    weight_abs_mean AS mean_abs_weight,
    weight_std AS std_weight,
    sign_agreement,
    flow_mean AS mean_flow,
    flow_abs_mean AS mean_abs_flow
FROM edge_stats
WHERE source_kind = 'neuron' AND target_kind = 'neuron';
