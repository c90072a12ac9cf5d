-- One row per neuron: what people ask for first. `polarity` is the sign with which it matters most in the graphs (without graphs:
-- in which it fires strongest); label columns are of that polarity, `opposite_*` of the other.
CREATE TABLE neurons AS
WITH known AS (
    SELECT layer, neuron FROM neuron_profiles
    UNION SELECT layer, neuron FROM activation_stats
    UNION SELECT layer, neuron FROM output_projections
    UNION SELECT layer, neuron FROM input_projections
    UNION SELECT layer, neuron FROM der_scores
    UNION SELECT layer, neuron FROM output_labels
    UNION SELECT layer, neuron FROM input_labels
    UNION SELECT layer, neuron FROM cluster_members
    UNION SELECT source_layer, source FROM edge_stats WHERE source_kind = 'neuron'
    UNION SELECT target_layer, target FROM edge_stats WHERE target_kind = 'neuron'
),
activation AS (
    SELECT * FROM activation_stats
    QUALIFY row_number() OVER (PARTITION BY layer, neuron ORDER BY n_tokens DESC, corpus) = 1
),
main AS (
    SELECT layer, neuron, polarity FROM neuron_profiles
    QUALIFY row_number() OVER (PARTITION BY layer, neuron ORDER BY n * relevance_abs_mean DESC, polarity DESC) = 1
),
appearance AS (
    SELECT layer, neuron, sum(n)::BIGINT AS appearance_count FROM neuron_profiles GROUP BY layer, neuron
),
prompts AS (
    SELECT layer, neuron, count(DISTINCT prompt_id) AS n_prompts FROM neuron_prompts GROUP BY layer, neuron
),
exemplar AS (
    SELECT layer, neuron, count(*) AS num_exemplars FROM exemplars WHERE kind = 'top' GROUP BY layer, neuron
),
promoted AS (
    SELECT
        layer, neuron, direction,
        list(token ORDER BY rank) FILTER (rank < 10) AS tokens,
        max(output_norm) AS output_norm
    FROM output_projections
    GROUP BY layer, neuron, direction
),
signed AS (
    SELECT
        k.layer,
        k.neuron,
        coalesce(m.polarity, CASE WHEN -a.minimum > a.maximum THEN -1 ELSE 1 END)::TINYINT AS polarity
    FROM known AS k
    LEFT JOIN main AS m USING (layer, neuron)
    LEFT JOIN activation AS a USING (layer, neuron)
)
SELECT
    'L' || s.layer || '/N' || s.neuron AS neuron_id,
    s.layer,
    s.neuron,
    s.polarity,
    coalesce(o.label, i.label) AS label,
    coalesce(o.description, i.description) AS description,
    o.label AS output_label,
    o.description AS output_description,
    o.type AS output_type,
    o.score AS output_score,
    o.interpretability AS output_interpretability,
    o.labeler AS output_labeler,
    i.label AS input_label,
    i.description AS input_description,
    i.type AS input_type,
    i.score AS input_score,
    i.interpretability AS input_interpretability,
    i.labeler AS input_labeler,
    oo.label AS opposite_output_label,
    oi.label AS opposite_input_label,
    up.tokens AS promotes,
    down.tokens AS suppresses,
    coalesce(up.output_norm, down.output_norm) AS output_norm,
    coalesce(c.appearance_count, 0) AS appearance_count,
    coalesce(q.n_prompts, 0) AS n_prompts,
    p.frequency,
    p.relevance_abs_mean,
    p.domain,
    p.domain_specificity,
    d.der,
    d.effect_type,
    a.density_positive,
    a.density_negative,
    a.maximum AS max_activation,
    a.minimum AS min_activation,
    coalesce(e.num_exemplars, 0) AS num_exemplars,
    g.path AS cluster_path,
    g.top AS top_cluster,
    len(string_split(g.path, '.')) AS hierarchy_depth,
    g.flow AS infomap_flow,
    n.label AS cluster_label
FROM signed AS s
LEFT JOIN neuron_labels AS o
    ON o.layer = s.layer AND o.neuron = s.neuron AND o.polarity = s.polarity AND o.side = 'output'
LEFT JOIN neuron_labels AS i
    ON i.layer = s.layer AND i.neuron = s.neuron AND i.polarity = s.polarity AND i.side = 'input'
LEFT JOIN neuron_labels AS oo
    ON oo.layer = s.layer AND oo.neuron = s.neuron AND oo.polarity = -s.polarity AND oo.side = 'output'
LEFT JOIN neuron_labels AS oi
    ON oi.layer = s.layer AND oi.neuron = s.neuron AND oi.polarity = -s.polarity AND oi.side = 'input'
LEFT JOIN promoted AS up ON up.layer = s.layer AND up.neuron = s.neuron AND up.direction = s.polarity
LEFT JOIN promoted AS down ON down.layer = s.layer AND down.neuron = s.neuron AND down.direction = -s.polarity
LEFT JOIN neuron_profiles AS p ON p.layer = s.layer AND p.neuron = s.neuron AND p.polarity = s.polarity
LEFT JOIN appearance AS c ON c.layer = s.layer AND c.neuron = s.neuron
LEFT JOIN prompts AS q ON q.layer = s.layer AND q.neuron = s.neuron
LEFT JOIN der_scores AS d ON d.layer = s.layer AND d.neuron = s.neuron
LEFT JOIN activation AS a ON a.layer = s.layer AND a.neuron = s.neuron
LEFT JOIN exemplar AS e ON e.layer = s.layer AND e.neuron = s.neuron
LEFT JOIN cluster_members AS g ON g.layer = s.layer AND g.neuron = s.neuron
LEFT JOIN cluster_labels AS n ON n.path = g.path AND n.is_best
ORDER BY s.layer, s.neuron;
