"""Names of clusters, and how well each name predicts what ablating the cluster does.

    cluster_labels.py           everything below put together: the table of asset `cluster_labels`. Start here
    module_evidence.py          what is known of each module from its members: labels, tokens, prompt sets, flow to other modules
    name_by_rules.py            a name composed from that evidence
    name_by_language_model.py   a name by a language model: request, schema, parser
    ablation_scores.py          the test: do the tokens of the name fall when the module is switched off?

Not here: labels of single neurons (`core/labeling`), finding clusters (`clustering`), names of the modules of one prompt
(`analysis/modules/describe_modules.py`).
"""
