-- Readable text of every token id that any table shows.
CREATE TABLE vocabulary AS
WITH seen AS (
    SELECT unnest(token_ids) AS token_id, unnest(tokens) AS token FROM graphs WHERE tokens IS NOT NULL
    UNION
    SELECT token_id, token FROM targets
    UNION
    SELECT token_id, token FROM token_associations
    UNION
    SELECT token_id, token FROM output_projections
    UNION
    SELECT token_id, token FROM input_projections
)
SELECT token_id, min(token) AS token FROM seen GROUP BY token_id ORDER BY token_id;
