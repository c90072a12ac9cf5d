SELECT c.*, l.labeler, l.label, l.description, l.unlabeled_reason, l.tokens, l.score, l.ci_low, l.ci_high
FROM clusters AS c
LEFT JOIN cluster_labels AS l ON l.path = c.path AND l.is_best
WHERE $level::SMALLINT IS NULL OR c.level = $level::SMALLINT
ORDER BY c.level, c.flow DESC, c.path
