-- NeuronDB: what is said of every neuron of a model, with the evidence beside it.
--
-- A label set is one load: the labels of one model under one version name, embedded by one embedder. Each has its own
-- partitions of `descriptions` and `embeddings`, indexed before readers see them; replacing a set swaps the partitions.
-- Labels repeat, so every distinct text is embedded and indexed once: equal vectors would crowd an HNSW index.
-- Neurons are (layer, neuron) from 0; polarity is +1 or -1, the sign of the activation.

create table neuron_db.models (
    model integer generated always as identity primary key,
    model_id text not null,
    revision text not null unique,             -- sha256 of config, tokenizer and weights
    n_layers integer not null,
    n_neurons integer not null                 -- per layer
);

create table neuron_db.label_sets (
    label_set integer generated always as identity primary key,
    model integer not null references neuron_db.models,
    version text not null,
    embedder text not null,                    -- name and version of what made the embeddings
    dimension integer not null,                -- of the embeddings
    content_hash text not null,                -- of everything that was loaded
    n_descriptions bigint not null,
    n_unlabeled bigint not null,
    recall real,                               -- of the index against an exact scan, 0..1; missing before the check
    unique (model, version)
);

create table neuron_db.descriptions (
    label_set integer not null,
    layer smallint not null,
    neuron integer not null,
    polarity smallint not null check (polarity in (-1, 1)),
    side text not null check (side in ('output', 'input')),
    labeler text not null,
    labeler_version text not null,
    is_preferred boolean not null,             -- the best labeler's answer for this neuron, polarity and side
    label text,                                -- missing when unlabeled
    description text,
    unlabeled_reason text,
    type text not null,
    direction smallint not null,
    confidence real,
    tokens text[] not null,
    evidence_hash text not null,
    metric text,                               -- what measured the label; the next five are its numbers
    score real,                                -- corrected for chance: 0 is chance, 1 is perfect
    measured real,                             -- the metric itself
    ci_low real,                               -- 95 % interval of the metric
    ci_high real,
    n_scored integer,
    interpretability text,
    text_key integer,                          -- of the label's embedding; missing when unlabeled
    primary key (label_set, layer, neuron, polarity, side, labeler),
    check ((label is null) = (text_key is null))
) partition by list (label_set);

create table neuron_db.embeddings (
    label_set integer not null,
    text_key integer not null,                 -- rank of the text among the set's distinct labels
    embedding halfvec not null,                -- of the label, L2-normalised
    primary key (label_set, text_key)
) partition by list (label_set);

create table neuron_db.parts (
    model integer not null references neuron_db.models,
    part text not null,                        -- quantiles | exemplars
    content_hash text not null,
    primary key (model, part)
);

create table neuron_db.quantiles (
    model integer not null references neuron_db.models,
    corpus text not null,
    layer smallint not null,
    neuron integer not null,
    n_tokens bigint not null,
    density_positive real not null,
    density_negative real not null,
    quantiles real[] not null,                 -- at the levels in `quantile_levels`
    primary key (model, corpus, layer, neuron)
);

create table neuron_db.quantile_levels (
    rank smallint primary key,
    level double precision not null
);

create table neuron_db.exemplars (
    model integer not null references neuron_db.models,
    corpus text not null,
    layer smallint not null,
    neuron integer not null,
    polarity smallint not null,
    kind text not null,                        -- top | random | hard_negative
    rank smallint not null,
    text_id text not null,
    tokens text[] not null,
    activations real[] not null,
    peak_position integer not null,
    peak_activation real not null,
    primary key (model, corpus, layer, neuron, polarity, kind, rank)
);
