"""Prompts and texts as files.

    prompt_sets.py        prompt sets: YAML or JSONL, one file per set; listing, reading, adding
    corpora.py            text corpora: one .txt file each, one text per line
    corpus_pass_file.py   the state of an unfinished pass over a corpus, so that an interrupted one continues

Not here: the demo model's own prompts and corpus (`neuron_atlas/demo`), what is computed over a corpus
(`core/aggregation/corpora`), which partitions these files become (`defs/partitions.py`).
"""
