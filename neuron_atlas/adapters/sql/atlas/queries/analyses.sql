-- Analysed prompts with their modules.
SELECT a.analysis, a.prompt, a.goal, a.goal_value, a.donor_answer, m.* EXCLUDE (analysis)
FROM analyses AS a
JOIN analysis_modules AS m USING (analysis)
ORDER BY a.prompt, a.analysis, m.relevance DESC, m.module
