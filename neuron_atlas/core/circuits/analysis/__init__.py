"""The circuit of one prompt: from its graph to modules that are named, tested and compared.

    analyze.py                  all of it for one prompt or one graph. Start here
    compare.py                  two graphs with their modules, compared
    compare_answers.py          several answers of one prompt: shared neurons, neurons of one answer, neurons that distinguish two
    describe_circuit.py   a language model's account of the circuit, or why there is none
    analysis_record.py          the result as it is stored, a JSON document
    analysis_tables.py          results as the tables analyses, analysis_modules, analysis_members, analysis_flows
    modules/                    the modules of one graph: found, split, described; what they write; the flow between them
    interventions/              modules changed in the real model, beside random sets; the summary of a study
    comparison/                 how two graphs are aligned and compared
    report/                     analyses, studies and comparisons as HTML pages

Not here: clusters over all prompts (`core/circuits/clustering`), tracing (`core/attribution`), files (`adapters/analyses`,
`cli/circuits`).
"""
