"""Circuits: which neurons work together.

    clustering/   over all prompts: modules of the flow between neurons (Infomap, Leiden), how stable they are, and clusters of
                  neurons with like attribution profiles
    naming/       names of those clusters, by rules and by a language model, tested by ablation
    analysis/     in one prompt: the modules of its graph, what they do, and what happens when they are changed

Tables in, tables out. Not here: attribution graphs (`core/attribution`), edge statistics (`core/aggregation/graphs`), files
(`adapters/analyses`), the assets (`defs/assets/circuits.py`).
"""
