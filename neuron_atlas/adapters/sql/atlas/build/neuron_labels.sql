-- The best label of every neuron, polarity and side, with its main score. A person's label goes before any machine's; a label
-- goes before "unlabeled". The main score is the hardest metric that gave a number (core/labeling/choice).
CREATE TABLE neuron_labels AS
WITH every_label AS (
    SELECT 'output' AS side, * FROM output_labels
    UNION ALL BY NAME
    SELECT 'input' AS side, * FROM input_labels
),
ranked_label AS (
    SELECT
        *,
        row_number() OVER (
            PARTITION BY layer, neuron, polarity, side
            ORDER BY label IS NULL, coalesce(list_position(getvariable('labelers'), labeler), 99), labeler
        ) AS place
    FROM every_label
),
ranked_score AS (
    SELECT
        *,
        row_number() OVER (
            PARTITION BY layer, neuron, polarity, side, labeler
            ORDER BY score IS NULL, list_position(getvariable('metrics'), metric)
        ) AS place
    FROM label_scores
    WHERE list_contains(getvariable('metrics'), metric)
)
SELECT
    l.layer, l.neuron, l.polarity, l.side, l.labeler, l.label, l.description, l.type, l.confidence, l.unlabeled_reason,
    l.tokens, s.metric, s.score, s.null_score, s.corrected, s.ci_low, s.ci_high, s.n AS n_scored, s.interpretability
FROM ranked_label AS l
LEFT JOIN ranked_score AS s
    ON s.layer = l.layer AND s.neuron = l.neuron AND s.polarity = l.polarity AND s.side = l.side
    AND s.labeler = l.labeler AND s.place = 1
WHERE l.place = 1
ORDER BY l.layer, l.neuron, l.polarity, l.side;
