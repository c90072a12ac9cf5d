"""The Dagster project: thin wiring around core and adapters, in Dagster's own nouns.

assets/                 the asset graph, one file each for attribution, aggregation, labeling, circuits and publication
asset_decorators.py     what every asset does around its one call into the core
asset_registry.py       which store keeps each asset, and what it is partitioned by
partitions.py           prompt sets, corpora, layers
layer_dependencies.py   an asset that depends on itself, layer after layer; the one private override of Dagster
resources/              what assets get besides tables
io_managers.py          how tables are stored and loaded
storage/                the stores behind the IO managers, and provenance
checks/                 checks before anything is stored, and of what is stored
metadata/               what the UI shows of an asset
failures.py             which errors are retried
running/                running assets in this process; what is out of date
instance.py             the Dagster instance that all commands share
automation.py           sensors and the schedule

Not here: what is computed (core), files, databases and models (adapters), the definitions as Dagster loads them
(neuron_atlas/definitions.py), commands (cli).
"""
