"""Running assets in this process instead of by Dagster's daemon, and knowing which of them need to run.

run_plan.py       which assets run, in which order, partition by partition
staleness.py      what is stored of every asset, and what is missing or out of date
materialize.py    running a plan, one Dagster run per step

Not here: the assets themselves (defs/assets), the Dagster instance (defs/instance.py), what may run by itself
(defs/automation.py), and the function that puts all of it together (neuron_atlas/definitions.py).
"""
