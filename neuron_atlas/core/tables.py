"""Every table, declared once: columns, types, units, key, meaning.

Storage, asset checks, the atlas and the documentation read these declarations; a frame that differs from its table is
refused before it is stored. An asset stores the tables listed for it in `ASSETS`.

Shared words: `polarity` is +1 or -1, the sign of the activation; `direction` is +1 (promotes, excites) or -1 (suppresses,
inhibits); `rank` counts from 0; a `node` is dense within its graph; token columns hold the tokenizer's own id beside
readable text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import polars as pl

from neuron_atlas.errors import DamagedData

I8, I16, I32, I64 = pl.Int8(), pl.Int16(), pl.Int32(), pl.Int64()
F32, F64, TEXT, BOOL = pl.Float32(), pl.Float64(), pl.String(), pl.Boolean()


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its polars type, what it means (with unit), and whether it may be missing."""

    name: str
    dtype: pl.DataType
    meaning: str
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """One table; `key` columns identify a row."""

    name: str
    meaning: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]

    @property
    def schema(self) -> dict[str, pl.DataType]:
        """Column name to polars type, in order."""
        return {c.name: c.dtype for c in self.columns}

    def empty(self) -> pl.DataFrame:
        """No rows, the right columns."""
        return pl.DataFrame(schema=self.schema)

    def checked(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The frame with this table's columns in order, sorted by key.

        Raises `DamagedData` on missing columns, types that cannot be cast without loss, nulls in required columns, NaN in
        key columns or a repeated key.
        """
        missing = [c.name for c in self.columns if c.name not in frame.columns]
        extra = [c for c in frame.columns if c not in self.schema]
        if missing or extra:
            raise DamagedData(f"table {self.name!r}: missing columns {missing}, unexpected columns {extra}")
        try:
            frame = frame.select(pl.col(c.name).cast(c.dtype) for c in self.columns)
        except pl.exceptions.InvalidOperationError as error:
            raise DamagedData(f"table {self.name!r}: a column does not fit its type: {error}") from error
        nulls = {c.name: n for c in self.columns if not c.optional and (n := frame[c.name].null_count())}
        if nulls:
            raise DamagedData(f"table {self.name!r}: missing values where none are allowed: {nulls}")
        if self.key and not _is_ascending(frame, self.key):
            frame = frame.sort(self.key)
            repeated = frame.height - frame.select(self.key).n_unique()
            if repeated:
                raise DamagedData(f"table {self.name!r}: {repeated} rows repeat the key {self.key}")
        return frame


def _is_ascending(frame: pl.DataFrame, key: Sequence[str]) -> bool:
    """Whether every row's key is greater than the one before: in order, and none twice. A tenth of what sorting costs."""
    greater = pl.lit(False)
    for name in reversed(key):
        here, before = pl.col(name), pl.col(name).shift(1)
        greater = (here > before) | ((here == before) & greater)
    return bool(frame.select(greater.slice(1).all()).item())


_Declared: TypeAlias = tuple[str, pl.DataType, str] | tuple[str, pl.DataType, str, Literal[True]]
"""Name, type, meaning, and True where the value may be missing."""


def _columns(*columns: _Declared) -> tuple[Column, ...]:
    return tuple(Column(name, dtype, meaning, bool(optional)) for name, dtype, meaning, *optional in columns)


_NEURON: tuple[tuple[str, pl.DataType, str], ...] = (
    ("layer", I16, "layer, from 0"),
    ("neuron", I32, "coordinate in the layer, from 0"),
)
_POLARITY: tuple[str, pl.DataType, str] = ("polarity", I8, "+1 or -1: sign of the activation")
_PROMPT: tuple[str, pl.DataType, str] = ("prompt_id", TEXT, "16 hex digits from the prompt's content")

# ---------------------------------------------------------------------------------------------------------------- attribution
GRAPHS = Table(
    "graphs",
    "One row per prompt of a prompt set: traced, or quarantined with a reason.",
    ("prompt_id",),
    _columns(
        _PROMPT,
        ("prompt_set", TEXT, "the prompt set's name"),
        ("kind", TEXT, "domain | baseline"),
        ("text", TEXT, "the prompt"),
        ("tags", TEXT, "JSON object of the prompt's free tags"),
        ("reason", TEXT, "why it was quarantined; missing for a traced prompt", True),
        ("token_ids", pl.List(I32), "token ids, BOS included", True),
        ("tokens", pl.List(TEXT), "token texts", True),
        ("position", I32, "token position whose logits are traced, from 0", True),
        ("goal", TEXT, "top_k | tokens | contrast | direction", True),
        ("goal_value", F32, "value of the goal (logits)", True),
        ("rules", TEXT, "linearisation rule set and version, e.g. relp/1", True),
        ("dtype", TEXT, "dtype of the forward pass", True),
        ("n_nodes", I32, "rows in nodes", True),
        ("n_edges", I32, "rows in edges", True),
        ("is_trimmed", BOOL, "more neurons qualified than max_nodes", True),
        ("completeness", F32, "influence-weighted share of inflow that comes from kept nodes, 0..1", True),
        (
            "replacement",
            F32,
            "share of influence reaching the goal from embeddings without passing an error term, 0..1",
            True,
        ),
        ("conservation_error", F32, "largest relative violation of conservation over all targets", True),
        ("kept_edge_share", F32, "share of sum |weight| that edges above the threshold hold", True),
        ("note", TEXT, "what the reader should know, e.g. a target word traced by its first token", True),
        ("model_revision", TEXT, "sha256 of the model"),
        ("options", TEXT, "JSON of the trace options"),
        ("code_version", TEXT, "version of neuron_atlas"),
    ),
)
TARGETS = Table(
    "targets",
    "The logits each graph was traced to.",
    ("prompt_id", "node"),
    _columns(
        _PROMPT,
        ("node", I32, "its node in the graph"),
        ("token_id", I32, "token"),
        ("token", TEXT, "token text"),
        ("logit", F32, "logit value (after soft-capping, if any)"),
        ("probability", F32, "softmax probability, 0..1"),
        ("goal_weight", F32, "weight of this logit in the goal (1; -1 for the negative of a contrast)"),
    ),
)
NODES = Table(
    "nodes",
    "Nodes of every graph: token embeddings, neuron instances, traced logits.",
    ("prompt_id", "node"),
    _columns(
        _PROMPT,
        ("node", I32, "dense id: embeddings by position, neurons by (layer, position, neuron), logits"),
        ("kind", TEXT, "embedding | neuron | logit"),
        ("layer", I16, "-1 for embeddings, n_layers for logits"),
        ("position", I32, "token position, from 0"),
        ("neuron", I32, "coordinate in the layer; missing for embeddings and logits", True),
        ("token_id", I32, "token id of embeddings and logits", True),
        ("activation", F32, "the node's value v; 1 for embeddings, the logit for logits"),
        (
            "relevance",
            F32,
            "v * d goal / d v, total effect on the goal (logits); the goal weight times the logit for logits",
        ),
        ("direct", F32, "part of relevance that reaches the goal without passing another MLP (logits)"),
        ("influence", F32, "share of absolute influence on the goal through kept edges, cumulative rank order 0..1"),
        ("bias", F32, "inflow from constants (units of the value); 0 for embeddings"),
        (
            "error",
            F32,
            "inflow from everything not kept: unselected neurons and edges below the threshold; 0 for embeddings",
        ),
    ),
)
EDGES = Table(
    "edges",
    "Direct effects between nodes of a graph: v_s * d v_t / d v_s with the MLPs between cut.",
    ("prompt_id", "target", "source"),
    _columns(
        _PROMPT,
        ("source", I32, "node"),
        ("target", I32, "node"),
        ("weight", F32, "in units of the target's value; flow = weight / v_t * relevance_t"),
    ),
)
FAITHFULNESS = Table(
    "faithfulness",
    "How well each rule set's attributions predict what interventions in the model itself do.",
    ("prompt_set", "protocol", "method", "n"),
    _columns(
        ("prompt_set", TEXT, "the prompt set's name"),
        (
            "protocol",
            TEXT,
            "patch_output | ablate_one | ablate_subset | keep_top | circuit | complement | edge | direct",
        ),
        ("method", TEXT, "linearisation rule set and version, e.g. relp/1, or random for random circuits"),
        ("n", I32, "nodes ablated or kept, or neurons of the circuit; 0 where the protocol has no size"),
        ("n_prompts", I32, "prompts (pairs of prompts for patch_output)"),
        ("n_runs", I32, "measurements: interventions, or edges"),
        ("pearson", F32, "correlation of predicted and measured effects within a prompt, mean over prompts", True),
        ("pearson_low", F32, "lower end of its 95 % interval over prompts", True),
        ("pearson_high", F32, "upper end", True),
        ("spearman", F32, "the same for ranks", True),
        ("spearman_low", F32, "lower end of its 95 % interval", True),
        ("spearman_high", F32, "upper end", True),
        ("share", F32, "share of the goal that is left, 0 with none of the neurons, 1 with all of them", True),
        ("share_low", F32, "lower end of its 95 % interval over prompts", True),
        ("share_high", F32, "upper end", True),
    ),
)

# ---------------------------------------------------------------------------------------------------------------- aggregation
# Sums are exact integers so that any order of merging gives the same bytes: a float x is stored as round(x * 2**SCALE_BITS).
SCALE_BITS = 30
_END: tuple[tuple[str, pl.DataType, str], ...] = (
    ("source_kind", TEXT, "neuron | embedding"),
    ("source_layer", I16, "-1 for embeddings"),
    ("source", I32, "neuron, or token id for embeddings"),
    ("target_kind", TEXT, "neuron | logit"),
    ("target_layer", I16, "n_layers for logits"),
    ("target", I32, "neuron, or token id for logits"),
)
EDGE_SUMS = Table(
    "edge_sums",
    "Mergeable sums of one edge (positions dropped) over one prompt set, packed: see core/aggregation/edge_packing.py.",
    ("target_kind", "target_layer", "target", "source_kind", "source_layer", "source"),
    _columns(
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
    _columns(
        *_NEURON,
        _POLARITY,
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
        ("der_sq_sum_q", I64, "sum of its square, fixed point"),
        ("der_min", F32, "smallest"),
        ("der_max", F32, "largest"),
    ),
)
TOKEN_SUMS = Table(
    "token_sums",
    "How often a token stands at (place active) or within 5 tokens before (place window) an instance of a neuron.",
    ("layer", "neuron", "polarity", "place", "token_id"),
    _columns(*_NEURON, _POLARITY, ("place", TEXT, "active | window"), ("token_id", I32, "token"), ("n", I64, "count")),
)
TOKEN_BASE = Table(
    "token_base",
    "How often a token occurs in the prompts of a set: the base rate of lift.",
    ("token_id",),
    _columns(("token_id", I32, "token"), ("n", I64, "occurrences")),
)
PAIR_SUMS = Table(
    "pair_sums",
    "In how many prompts two neurons (a < b) both appear.",
    ("layer_a", "neuron_a", "layer_b", "neuron_b"),
    _columns(
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
    _columns(
        ("prompt_set", TEXT, "name"),
        ("kind", TEXT, "domain | baseline"),
        ("n_prompts", I64, "traced prompts"),
        ("n_quarantined", I64, "quarantined prompts"),
        ("n_tokens", I64, "tokens of traced prompts"),
    ),
)
NEURON_PROMPTS = Table(
    "neuron_prompts",
    "Inverted index: which graphs a neuron appears in. A prompt that stands in two prompt sets has a row for each.",
    ("layer", "neuron", "prompt_id", "prompt_set"),
    _columns(
        *_NEURON, _PROMPT, ("prompt_set", TEXT, "name"), ("relevance", F32, "sum of its instances' relevance (logits)")
    ),
)
SPECIFICITY_SUMS = Table(
    "set_neurons",
    "In how many prompts of one prompt set a neuron appears, by polarity.",
    ("prompt_set", "layer", "neuron", "polarity"),
    _columns(("prompt_set", TEXT, "name"), *_NEURON, _POLARITY, ("n_prompts", I64, "distinct prompts")),
)
EDGE_STATS = Table(
    "edge_stats",
    "Statistics of every edge over all prompt sets.",
    ("source_kind", "source_layer", "source", "target_kind", "target_layer", "target"),
    _columns(
        *_END,
        ("n", I64, "instances"),
        ("n_prompts", I64, "distinct prompts"),
        (
            "frequency",
            F32,
            "its distinct prompts / those of its neuron target (of its source, for logits), 0..1",
        ),
        ("weight_mean", F32, "mean weight (units of the target's value)"),
        ("weight_abs_mean", F32, "mean |weight|"),
        ("weight_std", F32, "population standard deviation"),
        ("weight_min", F32, "smallest"),
        ("weight_max", F32, "largest"),
        ("sign_agreement", F32, "share of instances with the majority sign, 0.5..1"),
        ("flow_mean", F32, "mean flow (logits)"),
        ("flow_abs_mean", F32, "mean |flow| (logits)"),
    ),
)
NEURON_PROFILES = Table(
    "neuron_profiles",
    "What all graphs say of a neuron and polarity.",
    ("layer", "neuron", "polarity"),
    _columns(
        *_NEURON,
        _POLARITY,
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
    _columns(
        *_NEURON,
        _POLARITY,
        ("place", TEXT, "active | window"),
        ("rank", I16, "by lift-weighted count"),
        ("token_id", I32, "token"),
        ("token", TEXT, "token text"),
        ("n", I64, "count"),
        ("frequency", F32, "share of the neuron's counts at this place, 0..1"),
        ("lift", F32, "frequency / base rate"),
    ),
)
COOCCURRENCE = Table(
    "cooccurrence",
    "Neurons that appear together.",
    ("layer", "neuron", "rank"),
    _columns(
        *_NEURON,
        ("rank", I16, "by Jaccard"),
        ("other_layer", I16, "the other neuron's layer"),
        ("other_neuron", I32, "the other neuron"),
        ("n_prompts", I64, "prompts with both"),
        ("jaccard", F32, "both / either, 0..1"),
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
    _columns(
        ("corpus", TEXT, "name of the corpus"),
        *_NEURON,
        ("n_tokens", I64, "tokens seen (special tokens left out)"),
        ("mean", F32, "mean activation"),
        ("std", F32, "population standard deviation"),
        ("minimum", F32, "smallest"),
        ("maximum", F32, "largest"),
        (
            "active_threshold",
            F32,
            "a token counts as active when |activation| exceeds this (published with the numbers)",
        ),
        ("density_positive", F32, "share of tokens above the threshold, 0..1"),
        ("density_negative", F32, "share of tokens below minus the threshold, 0..1"),
        ("quantiles", pl.List(F32), "values at QUANTILE_LEVELS"),
        ("histogram_edges", pl.List(F32), "bin edges, one more than counts"),
        ("histogram_counts", pl.List(I64), "tokens per bin"),
    ),
)
EXEMPLARS = Table(
    "exemplars",
    "Texts on which a neuron fires most (kind top), at random, and near misses (hard_negative).",
    ("corpus", "layer", "neuron", "polarity", "kind", "rank"),
    _columns(
        ("corpus", TEXT, "name of the corpus"),
        *_NEURON,
        _POLARITY,
        ("kind", TEXT, "top | random | hard_negative"),
        ("rank", I16, "by activation for top"),
        ("is_held_out", BOOL, "set aside for scoring before any labeler sees it"),
        ("text_id", TEXT, "16 hex digits of the text's content"),
        ("tokens", pl.List(TEXT), "token texts"),
        ("token_ids", pl.List(I32), "token ids"),
        ("activations", pl.List(F32), "activation at every token"),
        ("peak_position", I32, "position of the largest activation of this polarity"),
        ("peak_activation", F32, "its value"),
    ),
)
CORRELATED_NEURONS = Table(
    "correlated_neurons",
    "Neurons whose activations rise and fall together over the tokens of a corpus (Pearson correlation, any layers).",
    ("corpus", "layer", "neuron", "rank"),
    _columns(
        ("corpus", TEXT, "name of the corpus"),
        *_NEURON,
        ("rank", I16, "by |correlation|"),
        ("other_layer", I16, "the other neuron's layer"),
        ("other_neuron", I32, "the other neuron"),
        ("correlation", F32, "of both activations at the same token, over all tokens, -1..1"),
        ("error", F32, "standard error where it was estimated from a sketch at most; 0 where exact"),
    ),
)
PROJECTION_AGREEMENT = Table(
    "projection_agreement",
    "How far a neuron's projections may be believed: rank correlation of predicted and measured tokens.",
    ("corpus", "layer", "neuron", "side"),
    _columns(
        ("corpus", TEXT, "name of the corpus"),
        *_NEURON,
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
    *_NEURON,
    ("direction", I8, "+1 or -1"),
    ("rank", I16, "by |weight|"),
    ("token_id", I32, "token"),
    ("token", TEXT, "token text"),
)
OUTPUT_PROJECTIONS = Table(
    "output_projections",
    "Tokens whose logits a positive activation raises (+1) or lowers (-1): logit lens of the decoder direction.",
    ("layer", "neuron", "direction", "rank"),
    _columns(
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
    _columns(*_PROJECTED, ("response", F32, "activation on the normalised embedding")),
)
WEIGHT_EDGES = Table(
    "weight_edges",
    "Later neurons that a neuron would excite (+1) or inhibit (-1) through the weights alone, by virtual weights.",
    ("layer", "neuron", "direction", "rank"),
    _columns(
        *_NEURON,
        ("direction", I8, "+1: gate and up input of the target both rise with the activation; -1: both fall"),
        ("rank", I16, "by strength"),
        ("target_layer", I16, "layer of the target"),
        ("target", I32, "neuron of the target"),
        ("gate", F32, "change of its gate input per unit of activation, at unit norm scale; that of up without a gate"),
        ("up", F32, "change of its up input"),
        ("strength", F32, "|gate| + |up|; |up| without a gate"),
    ),
)
DER_SCORES = Table(
    "der_scores",
    "Direct-effect ratio of a neuron: how much of its effect on the goal skips later MLPs.",
    ("layer", "neuron"),
    _columns(
        *_NEURON,
        ("n", I64, "instances in graphs"),
        ("der", F32, "mean over instances of |direct| / (|direct| + |indirect|), exact from graphs, 0..1"),
        ("der_std", F32, "population standard deviation"),
        ("der_min", F32, "smallest"),
        ("der_max", F32, "largest"),
        ("der_pooled", F32, "sum |direct| / (sum |direct| + sum |indirect|), 0..1"),
        ("der_signed", F32, "sum direct / sum relevance; beyond 0..1 when the paths oppose each other", True),
        ("effect_type", TEXT, "logit (der > 0.7) | mixed | routing (der < 0.3)"),
        ("n_interventions", I64, "prompts on which it was ablated in the real model"),
        ("der_intervention", F32, "the same ratio by ablating the actual activation, fp32 head", True),
        ("der_intervention_std", F32, "its standard deviation", True),
    ),
)

# ------------------------------------------------------------------------------------------------------------------- labeling
_LABEL: tuple[_Declared, ...] = (
    *_NEURON,
    _POLARITY,
    ("labeler", TEXT, "rules | openai | openai-batch | human | import"),
    ("version", TEXT, "version of the labeler: code, prompt template and model"),
    ("label", TEXT, "3 to 8 words; missing when unlabeled", True),
    ("description", TEXT, "1 or 2 sentences", True),
    ("type", TEXT, "kind of function, from the side's enumeration"),
    ("confidence", F32, "the labeler's own, 0..1", True),
    ("unlabeled_reason", TEXT, "why there is no label", True),
    ("direction", I8, "+1: the label says that its tokens rise, or drive it; -1: that they fall"),
    ("tokens", pl.List(TEXT), "token texts the label predicts (promoted, or firing)"),
    ("token_ids", pl.List(I32), "their ids"),
    ("neighbours", pl.List(TEXT), "neighbour labels seen, as L18/N6721+@<label hash>"),
    ("evidence_hash", TEXT, "sha256 of the evidence shown"),
    ("model_revision", TEXT, "sha256 of the model"),
)
_LABEL_KEY = ("layer", "neuron", "polarity", "labeler")
OUTPUT_LABELS = Table("output_labels", "What a neuron does when it fires.", _LABEL_KEY, _columns(*_LABEL))
INPUT_LABELS = Table("input_labels", "What makes a neuron fire.", _LABEL_KEY, _columns(*_LABEL))
LABEL_SCORES = Table(
    "label_scores",
    "How well a label predicts held-out evidence, against a shuffled-label null.",
    ("layer", "neuron", "polarity", "labeler", "side", "metric"),
    _columns(
        *_NEURON,
        _POLARITY,
        ("labeler", TEXT, "who labeled"),
        ("side", TEXT, "output | input"),
        ("metric", TEXT, "detection | fuzzing | simulation | intervention | projection_rank"),
        ("score", F32, "the metric's value", True),
        ("null_score", F32, "the same with another neuron's label", True),
        ("corrected", F32, "(score - null) / (1 - null): 0 is chance, 1 is perfect", True),
        ("ci_low", F32, "lower end of the 95 % interval of score", True),
        ("ci_high", F32, "upper end", True),
        ("n", I32, "held-out items"),
        ("interpretability", TEXT, "low | medium | high, from corrected and its interval", True),
    ),
)

# ------------------------------------------------------------------------------------------------------------------- circuits
CLUSTERS = Table(
    "clusters",
    "Modules of the flow graph at every level of the hierarchy.",
    ("path",),
    _columns(
        ("path", TEXT, "module path, e.g. 3 or 3.1; never a leaf's rank"),
        ("level", I16, "1 for top modules"),
        ("size", I32, "neurons"),
        ("flow", F64, "share of all flow, 0..1"),
        ("layer_min", I16, "lowest layer"),
        ("layer_max", I16, "highest layer"),
        ("layer_median", F32, "median layer"),
        ("stability_seeds", F32, "mean best Jaccard over runs with other seeds, 0..1; missing without such runs", True),
        (
            "stability_prompts",
            F32,
            "mean best Jaccard over runs on redrawn prompts, 0..1; missing without such runs",
            True,
        ),
        ("stability", F32, "the lower of the two, 0..1", True),
        ("is_stable", BOOL, "stability >= 0.7; missing when nothing was repeated", True),
    ),
)
CLUSTER_MEMBERS = Table(
    "cluster_members",
    "Which module each neuron of the flow graph belongs to.",
    ("layer", "neuron"),
    _columns(
        *_NEURON,
        ("path", TEXT, "its finest module; missing when unclustered", True),
        ("top", I32, "its top module; missing when unclustered", True),
        ("flow", F64, "its share of flow, 0..1"),
    ),
)
CLUSTER_RUNS = Table(
    "cluster_runs",
    "How the clustering was made and what it gained.",
    ("algorithm",),
    _columns(
        ("algorithm", TEXT, "infomap | leiden"),
        ("seed", I64, "random seed"),
        ("weight_transform", TEXT, "abs_weight_sq | abs_weight | abs_flow: what a link weighs"),
        ("signs", TEXT, "merged | excitatory | inhibitory | layers: how excitation and inhibition are treated"),
        ("flow_model", TEXT, "undirected | directed"),
        ("hubs", TEXT, "keep | discount | drop: what is done about neurons linked to nearly everything"),
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
    "What passes between top modules, and inside each, summed over all edges between their neurons.",
    ("source", "target"),
    _columns(
        ("source", I32, "top module it comes from"),
        ("target", I32, "top module it goes to; the same as source for what stays inside"),
        ("n_edges", I32, "distinct edges between neurons"),
        ("flow", F64, "sum of flow over all instances (logits; negative: against the goal)"),
        ("flow_abs", F64, "sum of |flow| (logits)"),
        ("flow_inhibitory", F64, "the part of flow_abs along edges that on average lower their target (logits)"),
    ),
)
PROFILE_CLUSTERS = Table(
    "profile_clusters",
    "The second view: neurons with like attribution profiles, made of the same tokens and adding to the same logits.",
    ("cluster",),
    _columns(
        ("cluster", I32, "number, from 1"),
        ("size", I32, "neurons, each polarity counted apart"),
        ("layer_min", I16, "lowest layer"),
        ("layer_max", I16, "highest layer"),
        ("layer_median", F32, "median layer"),
        ("n_prompts", I64, "distinct prompts that show a member"),
        ("input_likeness", F32, "mean cosine of what two members hear, shrunk towards 0, -1..1"),
        ("output_likeness", F32, "mean cosine of what two members add to the logits, shrunk towards 0, -1..1"),
        ("input_tokens", pl.List(TEXT), "tokens its members are made of, largest share first"),
        ("raised_tokens", pl.List(TEXT), "logits its members raise"),
        ("lowered_tokens", pl.List(TEXT), "logits its members lower"),
        ("stability_seeds", F32, "mean best Jaccard over runs with other seeds, 0..1; missing without such runs", True),
        (
            "stability_prompts",
            F32,
            "mean best Jaccard over runs on redrawn prompts, 0..1; missing without such runs",
            True,
        ),
        ("stability", F32, "the lower of the two, 0..1", True),
        ("is_stable", BOOL, "stability >= 0.7; missing when nothing was repeated", True),
    ),
)
PROFILE_MEMBERS = Table(
    "profile_members",
    "Which cluster of the second view each neuron and polarity belongs to.",
    ("layer", "neuron", "polarity"),
    _columns(
        *_NEURON,
        _POLARITY,
        ("cluster", I32, "its cluster; missing when nothing is like it", True),
        ("n_prompts", I64, "distinct prompts in which it was profiled"),
    ),
)
PROFILE_AGREEMENT = Table(
    "profile_agreement",
    "How far the two views of clusters agree.",
    ("level",),
    _columns(
        ("level", TEXT, "top | finest: modules of the first view"),
        ("n", I64, "neurons (each polarity counted apart) that both views put into a cluster"),
        ("ami", F64, "adjusted mutual information: 0 is chance, 1 the same clusters"),
    ),
)
CLUSTER_LABELS = Table(
    "cluster_labels",
    "Names of modules: composed from their members, and by a language model where one is asked.",
    ("path", "labeler"),
    _columns(
        ("path", TEXT, "module path"),
        ("labeler", TEXT, "rules | openai | openai-batch"),
        ("version", TEXT, "version of the labeler: code, prompt template and model"),
        ("is_best", BOOL, "the one row of its module to show where there is room for one"),
        ("label", TEXT, "3 to 8 words; missing when unlabeled", True),
        ("description", TEXT, "1 or 2 sentences", True),
        ("unlabeled_reason", TEXT, "why there is none", True),
        ("tokens", pl.List(TEXT), "tokens the label stands for: of a name by rules, the top tokens of the members"),
        ("score", F32, "ablation effect on its tokens minus that of matched random sets (logits)", True),
        ("ci_low", F32, "lower end of the 95 % interval", True),
        ("ci_high", F32, "upper end", True),
    ),
)

ANALYSES = Table(
    "analyses",
    "Circuits of single prompts that `neuron-atlas analyze` has found.",
    ("analysis",),
    _columns(
        ("analysis", TEXT, "sha256 of what was asked for: prompt, model, options"),
        _PROMPT,
        ("prompt", TEXT, "what the model read"),
        ("goal", TEXT, "what was traced: top_k | tokens | contrast | direction"),
        ("goal_value", F64, "its value (logits)", True),
        ("rules", TEXT, "linearisation rule set"),
        ("n_neurons", I32, "neuron instances in the graph"),
        ("n_links", I32, "edges in the graph"),
        ("n_modules", I32, "modules found"),
        ("saving", F64, "1 - codelength / codelength without modules"),
        ("donor", TEXT, "the prompt whose modules were put in", True),
        ("donor_answer", TEXT, "its likeliest token", True),
        ("narrative", TEXT, "a language model's account of the circuit", True),
        ("language_model", TEXT, "which one wrote it", True),
        ("code_version", TEXT, "neuron_atlas version"),
    ),
)
ANALYSIS_MODULES = Table(
    "analysis_modules",
    "The modules of each analysed prompt: what they read and write, and what happens without them.",
    ("analysis", "module"),
    _columns(
        ("analysis", TEXT, "the analysis"),
        ("module", I32, "number, from 1"),
        ("path", TEXT, "its place among modules, e.g. 2.1"),
        ("name", TEXT, "by rules; missing when nothing stands out", True),
        ("account", TEXT, "what a language model calls it", True),
        ("concepts", pl.List(TEXT), "concepts it was found for"),
        ("size", I32, "neuron instances"),
        ("layer_min", I16, "lowest layer"),
        ("layer_max", I16, "highest layer"),
        ("relevance", F64, "what its members add to the goal (logits)"),
        ("share", F64, "relevance over the goal's value", True),
        ("reads", pl.List(TEXT), "tokens of the prompt it hears most from"),
        ("promotes", pl.List(TEXT), "tokens it raises"),
        ("suppresses", pl.List(TEXT), "tokens it lowers"),
        ("top", TEXT, "the likeliest token; missing where nothing was tested", True),
        ("top_without", TEXT, "the likeliest token with the module set to zero", True),
        ("random_top_kept", F64, "share of random sets, zeroed alike, that keep the likeliest token, 0..1", True),
        ("donor_module", I32, "the donor's module it was exchanged for", True),
        ("likeness", F64, "how alike the two are, 0..1", True),
        ("top_swapped", TEXT, "the likeliest token after the exchange", True),
    ),
)
ANALYSIS_MEMBERS = Table(
    "analysis_members",
    "The neuron instances of each analysed prompt and their modules.",
    ("analysis", "layer", "neuron", "position"),
    _columns(
        ("analysis", TEXT, "the analysis"),
        *_NEURON,
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
    "What passes between tokens, modules and answers of each analysed prompt.",
    ("analysis", "source_kind", "source", "target_kind", "target"),
    _columns(
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

ASSETS: dict[str, tuple[Table, ...]] = {
    "raw_graphs": (GRAPHS, TARGETS, NODES, EDGES),
    "faithfulness": (FAITHFULNESS,),
    "graph_stats": (
        SET_SUMS,
        EDGE_SUMS,
        NEURON_SUMS,
        TOKEN_SUMS,
        TOKEN_BASE,
        PAIR_SUMS,
        SPECIFICITY_SUMS,
        NEURON_PROMPTS,
    ),
    "edge_stats": (EDGE_STATS, NEURON_PROFILES, TOKEN_ASSOCIATIONS, COOCCURRENCE, NEURON_PROMPTS),
    "activation_stats": (ACTIVATION_STATS, EXEMPLARS, CORRELATED_NEURONS, PROJECTION_AGREEMENT),
    "output_projections": (OUTPUT_PROJECTIONS, WEIGHT_EDGES),
    "input_projections": (INPUT_PROJECTIONS,),
    "der_scores": (DER_SCORES,),
    "output_labels": (OUTPUT_LABELS,),
    "input_labels": (INPUT_LABELS,),
    "label_scores": (LABEL_SCORES,),
    "clusters": (CLUSTERS, CLUSTER_MEMBERS, CLUSTER_RUNS, CLUSTER_FLOWS),
    "profile_clusters": (PROFILE_CLUSTERS, PROFILE_MEMBERS, PROFILE_AGREEMENT),
    "cluster_labels": (CLUSTER_LABELS,),
    "analyses": (ANALYSES, ANALYSIS_MODULES, ANALYSIS_MEMBERS, ANALYSIS_FLOWS),
}
"""Which tables each asset stores together. `atlas` and `neuron_db` hold copies in their own schemas."""


def tables_of(asset: str) -> Sequence[Table]:
    """The tables one asset stores."""
    return ASSETS[asset]
