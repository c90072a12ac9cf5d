-- The label of the top cluster with most flow, a stable one where there is one.
SELECT l.label FROM cluster_labels AS l JOIN clusters AS c ON c.path = l.path AND l.is_best
WHERE c.level = 1 AND l.label IS NOT NULL ORDER BY c.is_stable DESC, c.flow DESC LIMIT 1
