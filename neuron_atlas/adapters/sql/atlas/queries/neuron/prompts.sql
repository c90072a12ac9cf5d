-- The prompts in whose graphs a neuron matters most.
SELECT p.prompt_id, p.prompt_set, p.relevance, g.text
FROM neuron_prompts AS p
LEFT JOIN graphs AS g ON g.prompt_id = p.prompt_id AND g.prompt_set = p.prompt_set
WHERE p.layer = $layer AND p.neuron = $neuron
ORDER BY abs(p.relevance) DESC, p.prompt_id, p.prompt_set
LIMIT $limit
