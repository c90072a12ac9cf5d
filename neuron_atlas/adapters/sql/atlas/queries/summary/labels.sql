-- How many neurons and polarities have a label, by side.
SELECT side, count(*) FILTER (label IS NOT NULL) AS labeled, count(*) FILTER (label IS NULL) AS abstained
FROM (SELECT 'output' AS side, label FROM output_labels UNION ALL SELECT 'input', label FROM input_labels)
GROUP BY side ORDER BY side DESC
