"""Dagster resources: what assets get besides tables.

atlas_resources.py   all of them, under the keys by which assets ask for them, with values from `Settings`
subject_model.py     the model under study
datasets.py          prompt sets, text corpora, analyses of single prompts
tracing.py           how prompts are traced
clustering.py        how neurons are clustered
language_model.py    the language model of labelers
labeler.py           who writes labels
label_store.py       labels by people and from elsewhere
embedder.py          the embedder of semantic search
locations.py         where things are stored: lake, unfinished work, Postgres, atlas file, records of what was published

Each is a thin factory: config in, plain object out. The Dagster UI shows the values and lets one run override them. A resource that
shapes results is a `FingerprintedResource`: its fingerprint becomes part of the provenance of what it was used for, so a changed
model, prompt file or threshold makes exactly what was made with it out of date. Where something is stored does not change what
it is, so locations have none.

Not here: keys and passwords (read from the environment when a client or connection is opened; Dagster never sees them), the
objects themselves (adapters), reading the environment (neuron_atlas/settings.py).
"""
