"""Tables of circuits: clusters of neurons over all prompts, and the circuits of single prompts."""

from __future__ import annotations

import polars as pl

from neuron_atlas.core.tables.declare import (
    BOOL,
    F32,
    F64,
    I16,
    I32,
    I64,
    NEURON,
    POLARITY,
    PROMPT,
    TEXT,
    Declared,
    Table,
    columns,
)

_STABILITY: tuple[Declared, ...] = (
    ("stability_seeds", F32, "mean best Jaccard over runs with other seeds, 0..1; missing without such runs", True),
    (
        "stability_prompts",
        F32,
        "mean best Jaccard over runs on redrawn prompts, 0..1; missing without such runs",
        True,
    ),
    ("stability", F32, "the lower of the two, 0..1", True),
    ("is_stable", BOOL, "stability >= 0.7; missing when nothing was repeated", True),
)

CLUSTERS = Table(
    "clusters",
    "Modules of the flow graph at every level of the hierarchy.",
    ("path",),
    columns(
        ("path", TEXT, "module path, e.g. 3 or 3.1"),
        ("level", I16, "1 for top modules"),
        ("size", I32, "number of neurons"),
        ("flow", F64, "share of all flow, 0..1"),
        ("layer_min", I16, "lowest layer"),
        ("layer_max", I16, "highest layer"),
        ("layer_median", F32, "median layer"),
        *_STABILITY,
    ),
)
CLUSTER_MEMBERS = Table(
    "cluster_members",
    "Which module each neuron of the flow graph belongs to.",
    ("layer", "neuron"),
    columns(
        *NEURON,
        ("path", TEXT, "the smallest module it is in; missing when unclustered", True),
        ("top", I32, "its top module; missing when unclustered", True),
        ("flow", F64, "its share of all flow, 0..1"),
    ),
)
CLUSTER_RUNS = Table(
    "cluster_runs",
    "How the clustering was made and what it gained.",
    ("algorithm",),
    columns(
        ("algorithm", TEXT, "infomap | leiden"),
        ("seed", I64, "random seed"),
        ("weight_transform", TEXT, "abs_weight_sq | abs_weight | abs_flow: what a link weighs"),
        ("signs", TEXT, "merged | excitatory | inhibitory | layers: how excitation and inhibition are treated"),
        ("flow_model", TEXT, "undirected | directed"),
        ("hubs", TEXT, "keep | discount | drop: how neurons linked to nearly everything are treated"),
        ("min_count", I32, "smallest number of prompts in which a link was seen"),
        ("resolution", F32, "resolution of leiden; missing for infomap", True),
        ("n_reseeds", I32, "repeated runs with other seeds"),
        ("n_bootstraps", I32, "repeated runs on redrawn data"),
        ("bootstrap_unit", TEXT, "prompts | links | none: what was drawn again"),
        ("n_nodes", I64, "neurons in the flow graph"),
        ("n_links", I64, "links"),
        ("n_clustered", I64, "neurons in a module of 2 or more"),
        ("codelength", F64, "bits"),
        ("one_level_codelength", F64, "bits without modules"),
        ("saving", F64, "1 - codelength / one_level_codelength"),
    ),
)
CLUSTER_FLOWS = Table(
    "cluster_flows",
    "Flow between top modules, and inside each, summed over all edges between their neurons.",
    ("source", "target"),
    columns(
        ("source", I32, "top module from which it flows"),
        ("target", I32, "top module to which it flows; the same as source for flow inside one"),
        ("n_edges", I32, "distinct edges between neurons"),
        ("flow", F64, "sum of flow over all instances (logits; negative: against the goal)"),
        ("flow_abs", F64, "sum of |flow| (logits)"),
        ("flow_inhibitory", F64, "the part of flow_abs along edges that on average lower their target (logits)"),
    ),
)
PROFILE_CLUSTERS = Table(
    "profile_clusters",
    "Clusters of neurons with similar attribution profiles: driven by the same tokens and acting on the same logits.",
    ("cluster",),
    columns(
        ("cluster", I32, "number, from 1"),
        ("size", I32, "number of neurons, each polarity counted separately"),
        ("layer_min", I16, "lowest layer"),
        ("layer_max", I16, "highest layer"),
        ("layer_median", F32, "median layer"),
        ("n_prompts", I64, "distinct prompts that show a member"),
        ("input_likeness", F32, "mean cosine between the input profiles of two members, shrunk towards 0, -1..1"),
        ("output_likeness", F32, "mean cosine between what two members add to the logits, shrunk towards 0, -1..1"),
        ("input_tokens", pl.List(TEXT), "tokens that drive its members, largest share first"),
        ("raised_tokens", pl.List(TEXT), "logits its members raise"),
        ("lowered_tokens", pl.List(TEXT), "logits its members lower"),
        *_STABILITY,
    ),
)
PROFILE_MEMBERS = Table(
    "profile_members",
    "Which profile cluster each neuron and polarity belongs to.",
    ("layer", "neuron", "polarity"),
    columns(
        *NEURON,
        POLARITY,
        ("cluster", I32, "its profile cluster; missing when no other neuron has a similar profile", True),
        ("n_prompts", I64, "distinct prompts from which its profile was made"),
    ),
)
PROFILE_AGREEMENT = Table(
    "profile_agreement",
    "How far the profile clusters agree with the modules of the flow graph.",
    ("level",),
    columns(
        ("level", TEXT, "top | finest: which modules are compared"),
        ("n", I64, "neurons (each polarity counted separately) that are in a cluster and in a module"),
        ("ami", F64, "adjusted mutual information: 0 is chance, 1 the same clusters"),
    ),
)
CLUSTER_LABELS = Table(
    "cluster_labels",
    "Names of modules: composed from their members, and by a language model where one is asked.",
    ("path", "labeler"),
    columns(
        ("path", TEXT, "module path"),
        ("labeler", TEXT, "rules | openai | openai-batch"),
        ("version", TEXT, "version of the labeler: code, prompt template and model"),
        ("is_best", BOOL, "whether this is the row to show where only one fits"),
        ("label", TEXT, "3 to 8 words; missing when unlabeled", True),
        ("description", TEXT, "1 or 2 sentences", True),
        ("unlabeled_reason", TEXT, "why there is no label", True),
        ("tokens", pl.List(TEXT), "tokens that the label predicts; for a name by rules, the top tokens of the members"),
        ("score", F32, "ablation effect on its tokens minus that of matched random sets (logits)", True),
        ("ci_low", F32, "lower end of the 95 % interval", True),
        ("ci_high", F32, "upper end", True),
    ),
)

ANALYSES = Table(
    "analyses",
    "Circuits of single prompts that `neuron-atlas analyze` has found.",
    ("analysis",),
    columns(
        ("analysis", TEXT, "sha256 of what was asked for: prompt, model, options"),
        PROMPT,
        ("prompt", TEXT, "the prompt's text"),
        ("goal", TEXT, "what was traced: top_k | tokens | contrast | direction"),
        ("goal_value", F64, "value of the goal (logits)", True),
        ("rules", TEXT, "linearisation rule set"),
        ("n_neurons", I32, "neuron instances in the graph"),
        ("n_links", I32, "edges in the graph"),
        ("n_modules", I32, "modules found"),
        ("saving", F64, "1 - codelength / codelength without modules"),
        ("donor", TEXT, "the prompt whose modules were patched in", True),
        ("donor_answer", TEXT, "likeliest token of that prompt", True),
        ("narrative", TEXT, "a language model's account of the circuit", True),
        ("language_model", TEXT, "the language model that wrote it", True),
        ("code_version", TEXT, "neuron_atlas version"),
    ),
)
ANALYSIS_MODULES = Table(
    "analysis_modules",
    "The modules of each analysed prompt: what drives them, what they act on, and what happens without them.",
    ("analysis", "module"),
    columns(
        ("analysis", TEXT, "the analysis"),
        ("module", I32, "number, from 1"),
        ("path", TEXT, "path in the hierarchy of modules, e.g. 2.1"),
        ("name", TEXT, "name made by rules; missing when no token stands out", True),
        ("account", TEXT, "description by a language model", True),
        ("concepts", pl.List(TEXT), "concepts it was found for"),
        ("size", I32, "neuron instances"),
        ("layer_min", I16, "lowest layer"),
        ("layer_max", I16, "highest layer"),
        ("relevance", F64, "what its members add to the goal (logits)"),
        ("share", F64, "relevance over the goal's value", True),
        ("reads", pl.List(TEXT), "tokens of the prompt that drive it most"),
        ("promotes", pl.List(TEXT), "tokens it raises"),
        ("suppresses", pl.List(TEXT), "tokens it lowers"),
        ("top", TEXT, "the likeliest next token; missing where nothing was tested", True),
        ("top_without", TEXT, "the likeliest token with the module set to zero", True),
        ("random_top_kept", F64, "share of random sets, zeroed alike, that keep the likeliest token, 0..1", True),
        ("donor_module", I32, "module of the donor prompt it was exchanged for", True),
        ("likeness", F64, "similarity of the two modules, 0..1", True),
        ("top_swapped", TEXT, "the likeliest token after the exchange", True),
    ),
)
ANALYSIS_MEMBERS = Table(
    "analysis_members",
    "The neuron instances of each analysed prompt and their modules.",
    ("analysis", "layer", "neuron", "position"),
    columns(
        ("analysis", TEXT, "the analysis"),
        *NEURON,
        ("position", I32, "position in the prompt, from 0"),
        ("token", TEXT, "token at that position"),
        ("module", I32, "its module; missing when in none", True),
        ("activation", F64, "activation"),
        ("relevance", F64, "what it adds to the goal (logits)"),
        ("direct", F64, "the part that reaches the goal directly (logits)"),
    ),
)
ANALYSIS_FLOWS = Table(
    "analysis_flows",
    "Flow between the tokens, modules and answers of each analysed prompt.",
    ("analysis", "source_kind", "source", "target_kind", "target"),
    columns(
        ("analysis", TEXT, "the analysis"),
        ("source_kind", TEXT, "token | module | rest | answer"),
        ("source", I32, "a token's position, a module's number, 0 for the rest, an answer's place"),
        ("target_kind", TEXT, "token | module | rest | answer"),
        ("target", I32, "as source"),
        ("flow", F64, "sum of flow (logits)"),
        ("flow_abs", F64, "sum of |flow| (logits)"),
        ("n_links", I32, "edges"),
    ),
)
