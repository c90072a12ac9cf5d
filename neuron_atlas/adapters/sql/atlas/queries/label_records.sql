SELECT
    layer, neuron, polarity, side, labeler, labeler_version AS version, label, description, tokens, type, score, interpretability
FROM descriptions
WHERE label IS NOT NULL
ORDER BY layer, neuron, polarity, side, labeler
