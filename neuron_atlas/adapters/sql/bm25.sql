-- Ranking by words (BM25), for Postgres and DuckDB alike; core/publication/search/bm25.py has the formula.
with asked as (
    select unnest(cast(:words as text[])) as word
),
candidates as (
    select
        w.word,
        t.term,
        t.n_documents,
        case when t.term = w.word then 1.0 when starts_with(t.term, w.word) then 0.6 else 0.3 end as closeness
    from {terms} as t
    join asked as w on strpos(t.term, w.word) > 0
),
closest as (
    select *, max(closeness) over (partition by word) as best from candidates
),
-- Words that merely contain the asked one count only where none begins with it.
matches as (
    select word, term, n_documents, closeness from closest where closeness > 0.5 or best < 0.5
),
found as (
    select
        p.document,
        m.word,
        max(m.closeness) as closeness,
        max(
            m.closeness
            * ln(1 + (cast(:n_documents as float8) - m.n_documents + 0.5) / (m.n_documents + 0.5))
            * p.weight * 2.2 / (p.weight + 1.2 * (0.25 + 0.75 * d.length / cast(:mean_length as float8)))
        ) as score
    from matches as m
    join {postings} as p on p.term = m.term
    join {documents} as d on d.document = p.document
    group by p.document, m.word
),
-- In single precision, so that equal documents are equal whatever the order of the sum.
ranked as (
    select
        document,
        cast(sum(score) * count(*) / cast(:n_words as float8) as real) as words_score,
        array_agg(word order by word) as matched,
        sum(case when closeness = 1 then 1 else 0 end) / cast(:n_words as float8) as share_whole
    from found
    group by document
)
