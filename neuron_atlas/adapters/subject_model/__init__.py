"""The language model under study, a Hugging Face decoder. Fulfils `ports.SubjectModel`, `TraceableModel` and `ViewedModel`.

    load.py          `load_model`: from a folder or hub id to a model; what a model is, by its files alone
    config.py        sizes from config.json; finding a model's files, in a folder or on the hub
    huggingface.py   `HuggingFaceModel`: passes that record, edit and generate
    weights.py       a layer's MLP, the embedding and the unembedding as arrays
    hooks.py         reading and changing activations while a pass runs
    generation.py    choosing the next token, the cache of keys and values
    autograd.py      derivatives by automatic differentiation, for rule sets that are not linear
    tokens.py        the tokenizer: prompts to ids, ids to text, answers to ids
    families/        where the parts of each model family are

To add a model family, see `families/__init__.py`. Not here: the linearised model and attribution (`core/attribution`), the language
model that labels (`adapters/language_model`), the demo model (`neuron_atlas/demo`).

Importing `load.py` or `config.py` loads neither torch nor transformers; the others are imported when a model is loaded.
"""
