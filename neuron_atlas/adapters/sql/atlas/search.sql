WITH words AS (
    SELECT unnest($words::VARCHAR[]) AS word
),
candidates AS (
    SELECT
        w.word,
        t.term_id,
        t.n_documents,
        CASE WHEN t.term = w.word THEN 1.0 WHEN starts_with(t.term, w.word) THEN 0.6 ELSE 0.3 END AS closeness
    FROM search_terms AS t
    JOIN words AS w ON contains(t.term, w.word)
),
-- Words that merely contain the query word count only where none begins with it.
matches AS (
    SELECT * FROM candidates
    QUALIFY closeness > 0.5 OR max(closeness) OVER (PARTITION BY word) < 0.5
),
corpus AS (
    SELECT count(*) AS n_documents, avg(length) AS mean_length FROM search_documents
),
hits AS (
    SELECT
        p.document,
        m.word,
        max(
            m.closeness
            * ln(1 + (c.n_documents - m.n_documents + 0.5) / (m.n_documents + 0.5))
            * p.weight * 2.2 / (p.weight + 1.2 * (0.25 + 0.75 * d.length / c.mean_length))
        ) AS score
    FROM matches AS m
    JOIN search_postings AS p ON p.term_id = m.term_id
    JOIN search_documents AS d ON d.document = p.document
    CROSS JOIN corpus AS c
    WHERE $layers::INTEGER[] IS NULL OR list_contains($layers::INTEGER[], d.layer)
    GROUP BY p.document, m.word
),
ranked AS (
    SELECT
        document,
        sum(score) * count(*) / len($words::VARCHAR[]) AS score,
        list(word ORDER BY word) AS matched
    FROM hits
    GROUP BY document
)
SELECT
    n.neuron_id, n.layer, n.neuron, r.score, n.label, n.output_label, n.input_label, n.description,
    n.promotes, n.cluster_path, n.cluster_label, r.matched
FROM ranked AS r
JOIN search_documents AS d ON d.document = r.document
JOIN neurons AS n ON n.layer = d.layer AND n.neuron = d.neuron
ORDER BY round(r.score, 6) DESC, n.layer, n.neuron
LIMIT $limit
