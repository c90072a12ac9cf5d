"""Tables of aggregation: statistics of neurons and edges from graphs, from activations over texts, and from the weights."""

from __future__ import annotations

import polars as pl

from neuron_atlas.core.tables.declare import (
    BOOL,
    F32,
    F64,
    I8,
    I16,
    I32,
    I64,
    NEURON,
    POLARITY,
    PROMPT,
    TEXT,
    Table,
    columns,
)

# Sums are exact integers so that any order of merging gives the same bytes: a float x is stored as round(x * 2**SCALE_BITS).
SCALE_BITS = 30
_END: tuple[tuple[str, pl.DataType, str], ...] = (
    ("source_kind", TEXT, "neuron | embedding"),
    ("source_layer", I16, "-1 for embeddings"),
    ("source", I32, "neuron; token id for embeddings"),
    ("target_kind", TEXT, "neuron | logit"),
    ("target_layer", I16, "n_layers for logits"),
    ("target", I32, "neuron; token id for logits"),
)
EDGE_SUMS = Table(
    "edge_sums",
    "Mergeable sums of one edge (positions dropped) over one prompt set, packed: see core/aggregation/graphs/edge_packing.py.",
    ("target_kind", "target_layer", "target", "source_kind", "source_layer", "source"),
    columns(
        *_END,
        ("n", I64, "instances (pairs of positions)"),
        ("n_prompts", I64, "distinct prompts"),
        ("n_positive", I64, "instances with weight > 0"),
        (
            "weight_sum_q",
            I64,
            "sum of weight, fixed point 2**-30; missing where it follows from the columns below",
            True,
        ),
        ("weight_abs_sum_q", I64, "sum of |weight|, fixed point; missing also where all signs agree", True),
        ("weight_sq_sum_q", I64, "sum of weight squared, fixed point; missing where it follows", True),
        ("flow_sum_q", I64, "sum of flow, fixed point (logits); missing where it follows", True),
        ("flow_abs_sum_q", I64, "sum of |flow|, fixed point; missing also where all signs agree", True),
        ("weight_min", F32, "smallest weight; missing for a single instance", True),
        ("weight_max", F32, "largest weight"),
        ("slope_low", F64, "goal per unit of the target's value where the smaller of two weights was seen", True),
        ("slope_high", F64, "the same for the larger or only weight; missing from three instances on", True),
    ),
)
NEURON_SUMS = Table(
    "neuron_sums",
    "Mergeable sums of one neuron and polarity over one prompt set.",
    ("layer", "neuron", "polarity"),
    columns(
        *NEURON,
        POLARITY,
        ("n", I64, "instances"),
        ("n_prompts", I64, "distinct prompts"),
        ("activation_sum_q", I64, "sum of activation, fixed point"),
        ("activation_max", F32, "largest |activation|, with its sign"),
        ("relevance_sum_q", I64, "sum of relevance, fixed point (logits)"),
        ("relevance_abs_sum_q", I64, "sum of |relevance|, fixed point"),
        ("direct_sum_q", I64, "sum of direct, fixed point"),
        ("direct_abs_sum_q", I64, "sum of |direct|, fixed point"),
        ("indirect_abs_sum_q", I64, "sum of |relevance - direct|, fixed point"),
        ("der_sum_q", I64, "sum of |direct| / (|direct| + |relevance - direct|) per instance, fixed point"),
        ("der_sq_sum_q", I64, "sum of the square of that ratio, fixed point"),
        ("der_min", F32, "smallest such ratio"),
        ("der_max", F32, "largest such ratio"),
    ),
)
TOKEN_SUMS = Table(
    "token_sums",
    "How often a token is at (place active) or within 5 tokens before (place window) an instance of a neuron.",
    ("layer", "neuron", "polarity", "place", "token_id"),
    columns(
        *NEURON,
        POLARITY,
        ("place", TEXT, "active | window: where the token is"),
        ("token_id", I32, "token"),
        ("n", I64, "count"),
    ),
)
TOKEN_BASE = Table(
    "token_base",
    "How often a token occurs in the prompts of a set: the base rate of lift.",
    ("token_id",),
    columns(("token_id", I32, "token"), ("n", I64, "occurrences")),
)
PAIR_SUMS = Table(
    "pair_sums",
    "In how many prompts two neurons (a < b) both appear.",
    ("layer_a", "neuron_a", "layer_b", "neuron_b"),
    columns(
        ("layer_a", I16, "layer of a"),
        ("neuron_a", I32, "neuron a"),
        ("layer_b", I16, "layer of b"),
        ("neuron_b", I32, "neuron b"),
        ("n_prompts", I64, "distinct prompts"),
    ),
)
SET_SUMS = Table(
    "set_sums",
    "One row per prompt set: the denominators of its rates.",
    ("prompt_set",),
    columns(
        ("prompt_set", TEXT, "name"),
        ("kind", TEXT, "domain | baseline"),
        ("n_prompts", I64, "traced prompts"),
        ("n_quarantined", I64, "quarantined prompts"),
        ("n_tokens", I64, "tokens of traced prompts"),
    ),
)
NEURON_PROMPTS = Table(
    "neuron_prompts",
    "Inverted index: which graphs a neuron appears in. A prompt that is in two prompt sets has a row for each.",
    ("layer", "neuron", "prompt_id", "prompt_set"),
    columns(
        *NEURON, PROMPT, ("prompt_set", TEXT, "name"), ("relevance", F32, "sum of its instances' relevance (logits)")
    ),
)
SPECIFICITY_SUMS = Table(
    "set_neurons",
    "In how many prompts of one prompt set a neuron appears, by polarity.",
    ("prompt_set", "layer", "neuron", "polarity"),
    columns(("prompt_set", TEXT, "name"), *NEURON, POLARITY, ("n_prompts", I64, "distinct prompts")),
)
EDGE_STATS = Table(
    "edge_stats",
    "Statistics of every edge over all prompt sets.",
    ("source_kind", "source_layer", "source", "target_kind", "target_layer", "target"),
    columns(
        *_END,
        ("n", I64, "instances"),
        ("n_prompts", I64, "distinct prompts"),
        (
            "frequency",
            F32,
            "distinct prompts of the edge / distinct prompts of its target neuron (of its source, for logits), 0..1",
        ),
        ("weight_mean", F32, "mean weight (units of the target's value)"),
        ("weight_abs_mean", F32, "mean |weight|"),
        ("weight_std", F32, "population standard deviation of the weight"),
        ("weight_min", F32, "smallest weight"),
        ("weight_max", F32, "largest weight"),
        ("sign_agreement", F32, "share of instances with the majority sign, 0.5..1"),
        ("flow_mean", F32, "mean flow (logits)"),
        ("flow_abs_mean", F32, "mean |flow| (logits)"),
    ),
)
NEURON_PROFILES = Table(
    "neuron_profiles",
    "Statistics of a neuron and polarity over all graphs.",
    ("layer", "neuron", "polarity"),
    columns(
        *NEURON,
        POLARITY,
        ("n", I64, "instances"),
        ("n_prompts", I64, "distinct prompts with this polarity"),
        ("frequency", F32, "n_prompts / all traced prompts, 0..1"),
        ("activation_mean", F32, "mean activation"),
        ("activation_max", F32, "largest |activation|, signed"),
        ("relevance_mean", F32, "mean relevance (logits)"),
        ("relevance_abs_mean", F32, "mean |relevance| (logits)"),
        ("domain", TEXT, "prompt set in which it is most over-represented", True),
        ("domain_specificity", F32, "r_d / (r_d + r_b), rates with Beta(1/2, 1/2) smoothing, 0..1", True),
        ("domain_z", F32, "log-odds z between that domain and the baseline", True),
    ),
)
TOKEN_ASSOCIATIONS = Table(
    "token_associations",
    "Input tokens over-represented where a neuron fires.",
    ("layer", "neuron", "polarity", "place", "rank"),
    columns(
        *NEURON,
        POLARITY,
        ("place", TEXT, "active | window: where the token is, at the instance or within 5 tokens before"),
        ("rank", I16, "by lift-weighted count, from 0"),
        ("token_id", I32, "token"),
        ("token", TEXT, "token text"),
        ("n", I64, "count"),
        ("frequency", F32, "share of the neuron's counts at this place, 0..1"),
        ("lift", F32, "frequency / base rate"),
    ),
)
OUTPUT_ASSOCIATIONS = Table(
    "output_associations",
    "Answers over-represented among the logits that a neuron acts on in graphs.",
    ("layer", "neuron", "rank"),
    columns(
        *NEURON,
        ("rank", I16, "by lift-weighted count, from 0"),
        ("token_id", I32, "token of the logit"),
        ("token", TEXT, "token text"),
        ("n", I64, "links from an instance of the neuron to this logit"),
        ("n_prompts", I64, "distinct prompts with such a link"),
        ("frequency", F32, "share of the neuron's links to logits, 0..1"),
        ("lift", F32, "frequency / share of all neurons' links to logits"),
        ("weight_mean", F32, "mean weight (logits)"),
    ),
)
COOCCURRENCE = Table(
    "cooccurrence",
    "Neurons that appear in the same prompts.",
    ("layer", "neuron", "rank"),
    columns(
        *NEURON,
        ("rank", I16, "by Jaccard, from 0"),
        ("other_layer", I16, "the other neuron's layer"),
        ("other_neuron", I32, "the other neuron"),
        ("n_prompts", I64, "prompts with both"),
        ("jaccard", F32, "prompts with both / prompts with either, 0..1"),
        ("pmi", F32, "pointwise mutual information (nats)"),
    ),
)
# Quantile levels of table `activation_stats`, in order.
QUANTILE_LEVELS: tuple[float, ...] = (
    1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 0.5, 1 - 1e-1, 1 - 1e-2, 1 - 1e-3, 1 - 1e-4, 1 - 1e-5, 1 - 1e-6, 1 - 1e-7,
)  # fmt: skip
ACTIVATION_STATS = Table(
    "activation_stats",
    "Activations of a neuron over a text corpus, both signs together.",
    ("corpus", "layer", "neuron"),
    columns(
        ("corpus", TEXT, "name of the corpus"),
        *NEURON,
        ("n_tokens", I64, "tokens seen (special tokens left out)"),
        ("mean", F32, "mean activation"),
        ("std", F32, "population standard deviation of the activation"),
        ("minimum", F32, "smallest activation"),
        ("maximum", F32, "largest activation"),
        (
            "active_threshold",
            F32,
            "a token counts as active when |activation| exceeds this",
        ),
        ("density_positive", F32, "share of tokens above the threshold, 0..1"),
        ("density_negative", F32, "share of tokens below minus the threshold, 0..1"),
        ("quantiles", pl.List(F32), "activations at 15 levels: 1e-7, 1e-6 … 0.1, 0.5, 0.9 … 1 - 1e-6, 1 - 1e-7"),
        ("histogram_edges", pl.List(F32), "bin edges, one more than counts"),
        ("histogram_counts", pl.List(I64), "tokens per bin"),
    ),
)
EXEMPLARS = Table(
    "exemplars",
    "Texts on which a neuron fires most (kind top), at random, and near misses (hard_negative).",
    ("corpus", "layer", "neuron", "polarity", "kind", "rank"),
    columns(
        ("corpus", TEXT, "name of the corpus"),
        *NEURON,
        POLARITY,
        ("kind", TEXT, "top | random | hard_negative"),
        ("rank", I16, "from 0; by activation for kind top"),
        ("is_held_out", BOOL, "reserved for scoring: no labeler sees it"),
        ("text_id", TEXT, "16 hex digits of the text's content"),
        ("tokens", pl.List(TEXT), "token texts"),
        ("token_ids", pl.List(I32), "token ids"),
        ("activations", pl.List(F32), "activation at every token"),
        ("peak_position", I32, "position of the largest activation of this polarity"),
        ("peak_activation", F32, "activation there"),
    ),
)
CORRELATED_NEURONS = Table(
    "correlated_neurons",
    "Neurons whose activations rise and fall together over the tokens of a corpus (Pearson correlation, any layers).",
    ("corpus", "layer", "neuron", "rank"),
    columns(
        ("corpus", TEXT, "name of the corpus"),
        *NEURON,
        ("rank", I16, "by |correlation|, from 0"),
        ("other_layer", I16, "the other neuron's layer"),
        ("other_neuron", I32, "the other neuron"),
        ("correlation", F32, "Pearson correlation of both activations at the same token, over all tokens, -1..1"),
        (
            "error",
            F32,
            "largest standard error of the correlation where it is estimated from a sketch; 0 where it is exact",
        ),
    ),
)
PROJECTION_AGREEMENT = Table(
    "projection_agreement",
    "How well a neuron's projections predict what is measured: rank correlation over tokens.",
    ("corpus", "layer", "neuron", "side"),
    columns(
        ("corpus", TEXT, "name of the corpus"),
        *NEURON,
        (
            "side",
            TEXT,
            "input: predicted and mean measured activation per token; output: projection and effect of steering per logit",
        ),
        ("rank_correlation", F32, "Spearman's rho over tokens, -1..1; missing where either side is constant", True),
        ("n_tokens", I32, "tokens compared"),
    ),
)
_PROJECTED: tuple[tuple[str, pl.DataType, str], ...] = (
    *NEURON,
    ("direction", I8, "+1 raised, -1 lowered"),
    ("rank", I16, "by |weight|, from 0"),
    ("token_id", I32, "token"),
    ("token", TEXT, "token text"),
)
OUTPUT_PROJECTIONS = Table(
    "output_projections",
    "Tokens whose logits a positive activation raises (+1) or lowers (-1): logit lens of the decoder direction.",
    ("layer", "neuron", "direction", "rank"),
    columns(
        *_PROJECTED,
        (
            "weight",
            F32,
            "final norm folded, vocabulary mean-centred, per unit of activation (logits at unit final-norm scale)",
        ),
        ("weight_raw", F32, "unembedding row times decoder column, nothing folded"),
        ("output_norm", F32, "L2 norm of the decoder column"),
    ),
)
INPUT_PROJECTIONS = Table(
    "input_projections",
    "Tokens whose embedding alone would drive the neuron up (+1) or down (-1), through the gated formula.",
    ("layer", "neuron", "direction", "rank"),
    columns(*_PROJECTED, ("response", F32, "activation on the normalised embedding")),
)
WEIGHT_EDGES = Table(
    "weight_edges",
    "Later neurons that a neuron would excite (+1) or inhibit (-1) through the weights alone, by virtual weights.",
    ("layer", "neuron", "direction", "rank"),
    columns(
        *NEURON,
        ("direction", I8, "+1: gate and up input of the target both rise with the activation; -1: both fall"),
        ("rank", I16, "by strength, from 0"),
        ("target_layer", I16, "layer of the target"),
        ("target", I32, "neuron of the target"),
        (
            "gate",
            F32,
            "change of the target's gate input per unit of activation, at unit norm scale; of its up input where there is no gate",
        ),
        ("up", F32, "the same for its up input"),
        ("strength", F32, "|gate| + |up|; |up| where there is no gate"),
    ),
)
DER_SCORES = Table(
    "der_scores",
    "Direct-effect ratio of a neuron: how much of its effect on the goal skips later MLPs.",
    ("layer", "neuron"),
    columns(
        *NEURON,
        ("n", I64, "instances in graphs"),
        ("der", F32, "mean over instances of |direct| / (|direct| + |indirect|), exact from graphs, 0..1"),
        ("der_std", F32, "population standard deviation over instances"),
        ("der_min", F32, "smallest of an instance"),
        ("der_max", F32, "largest of an instance"),
        ("der_pooled", F32, "sum |direct| / (sum |direct| + sum |indirect|), 0..1"),
        ("der_signed", F32, "sum direct / sum relevance; beyond 0..1 when the paths oppose each other", True),
        ("effect_type", TEXT, "logit (der > 0.7) | mixed | routing (der < 0.3)"),
        ("n_interventions", I64, "prompts on which the neuron was ablated in the model itself"),
        ("der_intervention", F32, "the same ratio, measured by ablating the neuron (output head in float32)", True),
        ("der_intervention_std", F32, "its standard deviation", True),
    ),
)
