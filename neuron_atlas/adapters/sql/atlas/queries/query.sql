SELECT neuron_id, layer, neuron, label, top_cluster
FROM neurons
WHERE contains(lower(label), lower($pattern))
    OR contains(lower(output_label), lower($pattern))
    OR contains(lower(input_label), lower($pattern))
ORDER BY layer, neuron
LIMIT $limit
