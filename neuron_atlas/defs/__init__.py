"""Dagster, thin: assets, partitions, resources, IO managers, checks, automation. The science is in core, the world in adapters.

assets/         the asset graph, a file per word
doorway         what every asset does around its one call into core
partitions · layering      prompt sets, corpora, layers; layer after layer inside one asset
ingredients · places · resources      what shapes results · where things lie · both, from the settings
io_managers · stores · inventory      how tables are put away and found again
recipes · catalog      what a partition was made from, and whether it is up to date
checks · stored_checks     before anything is stored · of what is stored
descriptions · plots       what the UI shows
walk · instance · automation      running without the daemon · the shared instance · what may run by itself
"""
