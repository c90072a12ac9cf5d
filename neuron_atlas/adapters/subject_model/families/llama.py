"""Decoders with Llama's module names: Llama, Mistral, Qwen2, Qwen3, OLMo-2, OLMo-3, Gemma-2, Gemma-3.

They differ in which norms stand around attention and MLP, and in little else that a frozen model sees: query and key
norms, rotary positions, sliding windows and attention soft-caps all live inside the recorded attention pattern; Qwen2's
value bias and Gemma's embedding scale are read where they are.

    Llama, Mistral, Qwen2, Qwen3   norm before attention, norm before MLP
    OLMo-2, OLMo-3                 norm after attention, norm after MLP
    Gemma-2, Gemma-3               before and after both, weights stored as w with 1 + w meant
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from neuron_atlas.adapters.subject_model.families.parts import (
    LayerParts,
    NormPart,
    Parts,
    child,
    count,
    linear,
    optional_parameter,
    parameter,
    rms_norm,
    setting,
)
from neuron_atlas.core.attribution.linearisation.fold import Activation
from neuron_atlas.errors import UnsupportedModel

ACTIVATIONS: dict[str, Activation] = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "relu": "relu",
}
"""Hugging Face's names of activation functions to ours."""


@dataclass(frozen=True)
class Norms:
    """Names of a layer's norms, None where there is none."""

    before_attention: str | None
    after_attention: str | None
    before_mlp: str | None
    after_mlp: str | None
    is_offset: bool = False


PRE_NORMS = Norms("input_layernorm", None, "post_attention_layernorm", None)
POST_NORMS = Norms(None, "post_attention_layernorm", None, "post_feedforward_layernorm")
GEMMA_NORMS = Norms(
    "input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm", True
)


def llama(model: nn.Module) -> Parts:
    """Llama, Mistral, Qwen2, Qwen3."""
    return _parts(model, PRE_NORMS)


def olmo(model: nn.Module) -> Parts:
    """OLMo-2, OLMo-3."""
    return _parts(model, POST_NORMS)


def gemma(model: nn.Module) -> Parts:
    """Gemma-2, Gemma-3 (text)."""
    return _parts(model, GEMMA_NORMS)


def activation_name(name: object) -> Activation:
    """Our name of an activation function; raises `UnsupportedModel`."""
    if not isinstance(name, str) or name not in ACTIVATIONS:
        raise UnsupportedModel(
            f"activation function {name!r} has no linearisation; known: {', '.join(sorted(ACTIVATIONS))}. "
            "Another needs its factor f(g)/g in `activation_factor` in core/attribution/linearisation/freeze.py"
        )
    return ACTIVATIONS[name]


def _parts(model: nn.Module, norms: Norms) -> Parts:
    layers = child(model, "model.layers")
    head = child(model, "lm_head")
    embed = child(model, "model.embed_tokens")
    softcap = setting(model, "final_logit_softcapping")
    return Parts(
        layers=tuple(_layer(block, norms) for block in layers.children()),
        final_norm=rms_norm(model, "model.norm", is_offset=norms.is_offset),
        embedding=lambda: _scaled_embedding(embed),
        unembedding=parameter(head, "weight"),
        unembedding_bias=optional_parameter(head, "bias"),
        n_heads=count(model, "num_attention_heads"),
        n_kv_heads=count(model, "num_key_value_heads"),
        activation=activation_name(setting(model, "hidden_activation", "hidden_act")),
        softcap=float(softcap) if isinstance(softcap, int | float) else None,
    )


def _layer(block: nn.Module, norms: Norms) -> LayerParts:
    value, out = linear(block, "self_attn.v_proj"), linear(block, "self_attn.o_proj")

    def norm(name: str | None) -> NormPart | None:
        return None if name is None else rms_norm(block, name, is_offset=norms.is_offset)

    return LayerParts(
        block=block,
        attention=child(block, "self_attn"),
        pattern_inputs=((child(block, "self_attn.q_proj"), None), (child(block, "self_attn.k_proj"), None)),
        value=value.weight,
        value_bias=value.bias,
        out=out.weight,
        out_bias=out.bias,
        gate=linear(block, "mlp.gate_proj"),
        up=linear(block, "mlp.up_proj"),
        down=linear(block, "mlp.down_proj"),
        before_attention=norm(norms.before_attention),
        after_attention=norm(norms.after_attention),
        before_mlp=norm(norms.before_mlp),
        after_mlp=norm(norms.after_mlp),
    )


def _scaled_embedding(embed: nn.Module) -> Tensor:
    weight = parameter(embed, "weight").detach().float()
    scale = getattr(embed, "embed_scale", None)
    return weight if not isinstance(scale, Tensor) else weight * scale.float()
