"""Circuits: which neurons work together.

All prompts' graphs, summed into `edge_stats`, form one **flow graph** of neurons (`flow_graph`). Infomap finds the modules in
which a random walker along that flow lingers (`modules`); reseeding and redrawing the links say which of them can be trusted
(`stability`). `clusters` does all three; `labels` names the modules from their members and `ablation` tests the names on the
model. Here are no files and no model code: tables in, tables out.
"""
