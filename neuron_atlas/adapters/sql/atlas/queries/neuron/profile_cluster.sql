-- The clusters of the second view that hold a neuron, one for each polarity that has one.
SELECT m.polarity, c.*
FROM profile_members AS m
JOIN profile_clusters AS c USING (cluster)
WHERE m.layer = $layer AND m.neuron = $neuron
ORDER BY m.polarity DESC
