"""What an attribution graph's JSON must hold: the schema of Neuronpedia's format (1.0.0), to which the older form conforms too.

Keys that are not named here are allowed at every level, as the schema allows them; the named extra keys are our own or those of
widespread tools, and hold what we expect or count as absent.
"""

from __future__ import annotations

import sys
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _whole(value: object) -> object:
    """JSON Schema counts 3.0 as an integer."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _text_of_integer(value: object) -> object:
    """A layer may be text or an integer; we keep text."""
    whole = _whole(value)
    return str(whole) if isinstance(whole, int) and not isinstance(whole, bool) else whole


def _number_or_none(value: object) -> float | None:
    """An extra key holds what we expect there, or nothing: others may use its name for something else."""
    if not isinstance(value, int | float) or isinstance(value, bool) or abs(value) > sys.float_info.max:
        return None
    return float(value)


def _text_or_none(value: object) -> str | None:
    return value if isinstance(value, str) else None


_Integer = Annotated[int, BeforeValidator(_whole)]
_Layer = Annotated[str, BeforeValidator(_text_of_integer)]
_Number = Annotated[float, Field(allow_inf_nan=False)]
_ExtraNumber = Annotated[float | None, BeforeValidator(_number_or_none)]
_ExtraText = Annotated[str | None, BeforeValidator(_text_or_none)]
_Shape = ConfigDict(strict=True, extra="ignore", frozen=True)


class FeatureDetails(BaseModel):
    """Where a viewer finds details of a node."""

    model_config = _Shape

    feature_json_base_url: str = ""
    neuronpedia_source_set: str = ""
    neuronpedia_lorsa_source_set: str = ""


class Generator(BaseModel):
    """The program that wrote a document."""

    model_config = _Shape

    name: str = ""
    version: str = ""
    url: str = ""
    email: str = ""


class Info(BaseModel):
    """What a viewer shows about a document. `transcoder_set` is an extra key."""

    model_config = _Shape

    description: str = ""
    creator_name: str = ""
    creator_url: str = ""
    source_urls: list[object] = []
    generator: Generator = Generator()
    create_time_ms: _Number = 0.0
    transcoder_set: _ExtraText = None


class GenerationSettings(BaseModel):
    """How a document was made."""

    model_config = _Shape

    max_n_logits: _Integer = 0
    desired_logit_prob: _Number = 0.0
    batch_size: _Integer = 0
    max_feature_nodes: _Integer = 0


class PruningSettings(BaseModel):
    """How a document was pruned."""

    model_config = _Shape

    node_threshold: _Number = 1.0
    edge_threshold: _Number = 1.0


class Metadata(BaseModel):
    """`metadata` of a document. The last three are extra keys."""

    model_config = _Shape

    slug: str
    scan: str
    prompt_tokens: list[str]
    prompt: str
    node_threshold: _Number = 1.0
    feature_details: FeatureDetails = FeatureDetails()
    info: Info = Info()
    generation_settings: GenerationSettings = GenerationSettings()
    pruning_settings: PruningSettings = PruningSettings()
    schema_version: _ExtraNumber = None
    transcoder_list: object = None
    neuron_atlas: object = None


class Parameters(BaseModel):
    """`qParams` of a document: what a viewer had selected."""

    model_config = _Shape

    pinned_ids: Annotated[list[str], Field(alias="pinnedIds")] = []
    supernodes: list[object] = []
    link_type: Annotated[str, Field(alias="linkType")] = ""
    clicked_id: Annotated[str, Field(alias="clickedId")] = ""
    sg_pos: str = ""


_Pair = Annotated[list[object], Field(min_length=2, max_length=2)]
_Triple = Annotated[list[object], Field(min_length=3, max_length=3)]


class QueryKeyTracing(BaseModel):
    """What others found of an attention feature's query and key."""

    model_config = _Shape

    pair_wise_contributors: list[_Triple]
    top_q_marginal_contributors: list[_Pair]
    top_k_marginal_contributors: list[_Pair]


class BareNode(BaseModel):
    """What every node has."""

    model_config = _Shape

    node_id: str
    layer: _Layer
    ctx_idx: _Integer
    feature_type: str
    js_node_id: Annotated[str, Field(alias="jsNodeId")]
    clerp: str
    activation: _Number | None = None


class SideNode(BareNode):
    """One of `qk_only_nodes`."""

    feature: _Integer | None = None


_NO_TRACING = QueryKeyTracing(pair_wise_contributors=[], top_q_marginal_contributors=[], top_k_marginal_contributors=[])


class Node(BareNode):
    """One of `nodes`. The keys from `node_kind` on are extra ones; a value of another type there counts as absent."""

    feature: _Integer | None
    influence: _Number | None = None
    qk_tracing_results: QueryKeyTracing = _NO_TRACING
    node_kind: _ExtraText = None
    token: _ExtraText = None
    token_prob: _ExtraNumber = None
    logit: _ExtraNumber = None
    goal_weight: _ExtraNumber = None
    relevance: _ExtraNumber = None
    direct: _ExtraNumber = None
    bias: _ExtraNumber = None
    error: _ExtraNumber = None
    influence_share: _ExtraNumber = None


class Link(BaseModel):
    """One of `links`."""

    model_config = _Shape

    source: str
    target: str
    weight: _Number


class Outline(BaseModel):
    """The top level, nodes and links not yet looked at."""

    model_config = _Shape

    metadata: Metadata
    q_params: Annotated[Parameters, Field(alias="qParams")]
    nodes: list[object]
    links: list[object]
    qk_only_nodes: dict[str, SideNode] = {}
    features: object = None
    nodes_exceeded: object = None


class Document(BaseModel):
    """A whole document that has the right shape."""

    model_config = ConfigDict(frozen=True)

    metadata: Metadata
    q_params: Parameters
    nodes: list[Node]
    links: list[Link]
    form: Literal["neuronpedia", "legacy"]
    """How it is written: as circuit-tracer and Neuronpedia do, or as tools of the older viewer."""
    is_trimmed: bool
    """Whether it says that more neurons qualified than it holds."""
