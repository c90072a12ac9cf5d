-- How much the atlas holds, in one row.
SELECT
    (SELECT value FROM metadata WHERE key = 'model_id') AS model,
    (SELECT count(*) FROM graphs WHERE reason IS NULL) AS graphs,
    (SELECT count(*) FROM graphs WHERE reason IS NOT NULL) AS quarantined,
    (SELECT count(*) FROM neurons) AS neurons,
    (SELECT count(*) FROM neurons WHERE n_prompts > 0) AS neurons_in_graphs,
    (SELECT count(*) FROM edge_stats) AS edges,
    (SELECT count(*) FROM clusters WHERE level = 1) AS clusters,
    (SELECT count(*) FROM clusters WHERE level = 1 AND is_stable) AS stable_clusters,
    (SELECT max(conservation_error) FROM graphs) AS conservation_error
