SELECT m.layer, m.neuron, m.path, l.label AS name
FROM cluster_members AS m
LEFT JOIN cluster_labels AS l ON l.path = m.path AND l.is_best
WHERE m.path IS NOT NULL
ORDER BY m.layer, m.neuron
