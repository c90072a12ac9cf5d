-- The label that is shown for every neuron, polarity and side, with its main score. Which label and which metric that is, is decided in
-- core/labeling/evidence/shown_label.py; `shown_labels` (layer, neuron, polarity, side, labeler, metric) holds the decision.
CREATE TABLE neuron_labels AS
WITH every_label AS (
    SELECT 'output' AS side, * FROM output_labels
    UNION ALL BY NAME
    SELECT 'input' AS side, * FROM input_labels
)
SELECT
    l.layer, l.neuron, l.polarity, l.side, l.labeler, l.label, l.description, l.type, l.confidence, l.unlabeled_reason,
    l.tokens, s.metric, s.score, s.null_score, s.corrected, s.ci_low, s.ci_high, s.n AS n_scored, s.interpretability
FROM every_label AS l
JOIN shown_labels AS w USING (layer, neuron, polarity, side, labeler)
LEFT JOIN label_scores AS s
    ON s.layer = l.layer AND s.neuron = l.neuron AND s.polarity = l.polarity AND s.side = l.side
    AND s.labeler = l.labeler AND s.metric = w.metric
ORDER BY l.layer, l.neuron, l.polarity, l.side;
