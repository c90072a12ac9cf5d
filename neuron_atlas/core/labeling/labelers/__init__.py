"""Who labels: each fulfils `core.labeling.labeler.Labeler`, evidence in, one `Label` or `Unlabeled` per neuron out.

    rules.py             `RulesLabeler`: needs no model, and gives the same label for the same evidence
    rules_output.py      its rules for what a neuron does
    rules_input.py       its rules for what makes a neuron fire
    rules_themes.py      what a list of tokens is about, and the phrase that says it
    language_model.py    `LanguageModelLabeler`: all neurons of a layer asked at once, unreadable replies requested again
    prompt.py            the request, its schema, and `parse_reply`: where a language model's reply becomes a label
    given_only.py        `GivenOnlyLabeler`: makes none, where only labels by people or imported ones count
    imported.py          how an imported text becomes a `Label`

A new labeler: a file here, its name in `evidence/precedence.py` and in `defs/resources/labeler.py`. Not here: clients and ledger
(`adapters/language_model`), label files (`adapters/labels`), labeling by hand (`cli/labeling/interactive.py`).
"""
