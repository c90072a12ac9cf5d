-- Search by words beside search by meaning, the neurons themselves with their clusters, and everything of a model in
-- partitions of its own, so that a load swaps partitions and never leaves dead rows.
--
-- Label sets loaded before this step keep their vectors; they have no words yet. Their content hash is cleared, so that the next
-- load of the same labels does not take them for complete.

alter table neuron_db.label_sets add column n_documents bigint;      -- descriptions with a word; missing when words are not indexed
alter table neuron_db.label_sets add column mean_length real;        -- of a document, in weighted words
update neuron_db.label_sets set content_hash = '';

alter table neuron_db.descriptions add column document integer;      -- number of a labeled description in its label set
alter table neuron_db.descriptions add column length real;           -- of the document, in weighted words

create table neuron_db.terms (
    label_set integer not null,
    term text collate "C" not null,
    n_documents integer not null,
    primary key (label_set, term)
) partition by list (label_set);

create table neuron_db.postings (
    label_set integer not null,
    term text collate "C" not null,
    document integer not null,
    weight real not null,                      -- how often the word stands there, fields weighted
    primary key (label_set, term, document) include (weight)
) partition by list (label_set);

create table neuron_db.neurons (
    model integer not null references neuron_db.models,
    layer smallint not null,
    neuron integer not null,
    cluster_path text,                         -- its finest module; missing when it is in none
    cluster_label text,
    primary key (model, layer, neuron)
) partition by list (model);

alter table neuron_db.quantiles rename to old_quantiles;
alter table neuron_db.exemplars rename to old_exemplars;

create table neuron_db.quantiles (like neuron_db.old_quantiles including defaults) partition by list (model);
alter table neuron_db.quantiles add foreign key (model) references neuron_db.models;
create table neuron_db.exemplars (like neuron_db.old_exemplars including defaults) partition by list (model);
alter table neuron_db.exemplars add foreign key (model) references neuron_db.models;

do $$
declare held integer;
begin
    for held in select model from neuron_db.models loop
        execute format('create table neuron_db.quantiles_%s partition of neuron_db.quantiles for values in (%s)', held, held);
        execute format('create table neuron_db.exemplars_%s partition of neuron_db.exemplars for values in (%s)', held, held);
    end loop;
end $$;

insert into neuron_db.quantiles select * from neuron_db.old_quantiles;
insert into neuron_db.exemplars select * from neuron_db.old_exemplars;
drop table neuron_db.old_quantiles;
drop table neuron_db.old_exemplars;
alter table neuron_db.quantiles add primary key (model, corpus, layer, neuron);
alter table neuron_db.exemplars add primary key (model, corpus, layer, neuron, polarity, kind, rank);
