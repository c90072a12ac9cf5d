-- Neurons that are nodes of nearly every graph, whatever the prompt says.
WITH traced AS (
    SELECT count(DISTINCT prompt_id) AS n FROM graphs WHERE reason IS NULL
)
SELECT
    format('L{}/N{}', p.layer, p.neuron) AS neuron_id,
    p.layer,
    p.neuron,
    count(DISTINCT p.prompt_id) AS n_prompts,
    n_prompts / any_value(traced.n) AS frequency
FROM neuron_prompts AS p, traced
GROUP BY p.layer, p.neuron
HAVING frequency >= $share
ORDER BY frequency DESC, p.layer, p.neuron
