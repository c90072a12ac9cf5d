SELECT n.neuron_id, n.layer, n.neuron, n.cluster_path, n.infomap_flow, n.label, n.output_label, n.input_label, n.promotes
FROM neurons AS n
WHERE n.cluster_path = $path OR starts_with(n.cluster_path, $path || '.')
ORDER BY n.infomap_flow DESC, n.layer, n.neuron
LIMIT $limit
