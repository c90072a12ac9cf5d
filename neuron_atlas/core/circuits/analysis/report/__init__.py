"""Analyses, studies and comparisons as HTML pages that need no other file, no script and no request.

    analysis_page.py     the page of one analysis, and its short form for a notebook
    comparison_page.py   the page of two graphs compared
    study_page.py        the page of a study
    figures.py           the circuit, the flow matrix and effects, drawn as SVG
    page_parts.py        the frame of a page, sections, tables, readable numbers and tokens
    report.css           the style

Prompts, tokens, labels and a language model's text come from anywhere: every text is escaped where it enters the page, and the
page's policy allows nothing but its own style. Not here: the page of a graph (`core/attribution/view`).
"""
