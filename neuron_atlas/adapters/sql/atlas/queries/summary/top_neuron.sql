-- The neuron that does most, of those at work in many prompts whose labels both hold (of all, where there is none).
SELECT neuron_id, output_label, input_label FROM neurons
WHERE output_label IS NOT NULL AND input_label IS NOT NULL
ORDER BY n_prompts >= 20 AND output_score >= 0.8 AND input_score >= 0.7 DESC NULLS LAST, relevance_abs_mean DESC, neuron_id
LIMIT 1
