"""A graph as a page: complete in itself, opened from disk or shown in a notebook; it makes no request.

    page.py        the page: data, style and script in one text; and the cell that a notebook shows
    page_data.py   the graph as the page's data: columns of nodes and links, the strongest links only
    graph.js       draws it (no library), graph.css styles it
    highlights.py  the strongest neurons and links as small frames to print

Prompts, tokens and labels come from anywhere, so they never become markup: they stand in a JSON block with `<`, `>` and `&`
escaped, the script puts them in as text, and a policy in the page allows only this script and this style by their hashes.

Not here: what passes along a link (`effects/edge_flow.py`), pages of analyses (`core/circuits/analysis/report`), views of neurons
over a text (`core/publication/view`).
"""

from neuron_atlas.core.attribution.view.page import graph_cell, graph_page

__all__ = ["graph_cell", "graph_page"]
