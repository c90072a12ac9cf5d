"""A graph as a page: complete in itself, opened from disk or shown in a notebook; it makes no request.

    data.py      the graph as the page's data: columns of nodes and links, the strongest links only
    page.py      the page: data, style and script in one text
    graph.js     draws it (no library), graph.css styles it

Prompts, tokens and labels come from anywhere, so they never become markup: they stand in a JSON block with `<`, `>` and `&`
escaped, the script puts them in as text, and a policy in the page allows only this script and this style by their hashes.
"""

from neuron_atlas.core.attribution.view.page import graph_cell, graph_page

__all__ = ["graph_cell", "graph_page"]
