-- The modules that hold a neuron, from the top down.
SELECT c.*, l.label, l.description, l.tokens, l.score, l.ci_low, l.ci_high
FROM cluster_members AS m
JOIN clusters AS c ON c.path = m.path OR starts_with(m.path, c.path || '.')
LEFT JOIN cluster_labels AS l ON l.path = c.path AND l.is_best
WHERE m.layer = $layer AND m.neuron = $neuron
ORDER BY c.level
