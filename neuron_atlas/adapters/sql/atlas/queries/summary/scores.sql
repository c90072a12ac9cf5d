-- Mean label scores, by side and metric.
SELECT side, metric, count(corrected) AS labels, avg(score) AS score, avg(null_score) AS shuffled_label,
       avg(corrected) AS above_chance
FROM label_scores WHERE metric <> 'projection_rank' GROUP BY side, metric ORDER BY side DESC, metric
