SELECT m.layer, m.neuron, m.path, l.label AS name
FROM cluster_members AS m
LEFT JOIN cluster_labels AS l USING (path)
WHERE m.path IS NOT NULL
ORDER BY m.layer, m.neuron
