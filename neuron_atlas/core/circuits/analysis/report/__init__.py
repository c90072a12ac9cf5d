"""Analyses and comparisons as pages to read: complete in themselves, no script, no request.

    page        the frame of a page, and tables
    figures     the circuit, the flow matrix and effects, drawn as SVG
    analysis    the page of one analysis
    comparison  the page of two graphs compared

Prompts, tokens, labels and a language model's words come from anywhere: every text is escaped where it enters the page, and the
page's policy allows nothing but its own style.
"""

from neuron_atlas.core.circuits.analysis.report.analysis_page import analysis_cell, analysis_page
from neuron_atlas.core.circuits.analysis.report.comparison_page import comparison_page

__all__ = ["analysis_cell", "analysis_page", "comparison_page"]
