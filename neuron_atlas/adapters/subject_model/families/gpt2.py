"""GPT-2: LayerNorm with biases before attention and MLP, learned positions, a plain MLP.

Its `Conv1D` weights are stored [inputs, outputs]; query, key and value share one matrix, value being the last third.
"""

from __future__ import annotations

from torch import nn

from neuron_atlas.adapters.subject_model.families.llama import activation_name
from neuron_atlas.adapters.subject_model.families.parts import (
    LayerParts,
    Matrix,
    NormPart,
    Parts,
    child,
    count,
    optional_parameter,
    parameter,
    setting,
)
from neuron_atlas.core.attribution.linearisation.fold import Norm


def gpt2(model: nn.Module) -> Parts:
    """GPT-2."""
    embed, head = child(model, "transformer.wte"), child(model, "lm_head")
    return Parts(
        layers=tuple(_layer(block) for block in child(model, "transformer.h").children()),
        final_norm=_layer_norm(model, "transformer.ln_f"),
        embedding=lambda: parameter(embed, "weight").detach().float(),
        unembedding=parameter(head, "weight"),
        unembedding_bias=optional_parameter(head, "bias"),
        n_heads=count(model, "n_head"),
        n_kv_heads=count(model, "n_head"),
        activation=activation_name(setting(model, "activation_function")),
    )


def _layer(block: nn.Module) -> LayerParts:
    joint, out = _conv(block, "attn.c_attn"), _conv(block, "attn.c_proj")
    width = out.weight.shape[0]
    return LayerParts(
        block=block,
        attention=child(block, "attn"),
        pattern_inputs=((joint.module, 2 * width),),
        value=joint.weight[2 * width :],
        value_bias=None if joint.bias is None else joint.bias[2 * width :],
        out=out.weight,
        out_bias=out.bias,
        gate=None,
        up=_conv(block, "mlp.c_fc"),
        down=_conv(block, "mlp.c_proj"),
        before_attention=_layer_norm(block, "ln_1"),
        after_attention=None,
        before_mlp=_layer_norm(block, "ln_2"),
        after_mlp=None,
    )


def _conv(module: nn.Module, path: str) -> Matrix:
    part = child(module, path)
    return Matrix(part, parameter(part, "weight").T, optional_parameter(part, "bias"))


def _layer_norm(module: nn.Module, path: str) -> NormPart:
    part = child(module, path)
    if not isinstance(part, nn.LayerNorm):
        raise TypeError(f"{path} is {type(part).__name__}, expected LayerNorm")
    return NormPart(part, Norm(part.weight, part.bias, is_centred=True, eps=part.eps))
