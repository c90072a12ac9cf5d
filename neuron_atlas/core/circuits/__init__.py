"""Circuits: which neurons work together.

All prompts' graphs, summed into `edge_stats`, form one **flow graph** of neurons (`flow_graph`). Infomap or Leiden (`search`)
finds the modules in which a random walker along that flow lingers (`modules`); other seeds and prompts drawn anew (`bootstrap`)
say which of them can be trusted (`stability`). `clusters` does all of it. `profiles` and `profile_clusters` are the second view:
neurons that are made of the same tokens and add to the same logits; `agreement` says how far both views agree. `labels` names
the modules by rules (`naming`) and by a language model (`language_naming`), and `ablation` tests the names on the model.
`analysis` is about the graph of one prompt. Here are no files and no model code: tables in, tables out.
"""
