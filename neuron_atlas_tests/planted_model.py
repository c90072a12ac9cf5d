"""A four-layer Llama with hand-written weights, on which projections, effects, edges, labels and clusters have one answer.

The residual stream is cut into parts that do not mix:

    [ one dimension per token | one constant | one per wire | spare | one per token again ]
      what the embedding says    for thresholds  neuron to neuron      what the unembedding reads

A planted neuron has gate = s (a x_i + b x_const) and up = s c x_i, where x_i is a token's dimension or a wire and s the
norm's scale. On its tokens the gate is about 6 (elsewhere -8, or 3 for a wire's reader); elsewhere up is exactly 0, so
the neuron is silent. A *logit* neuron writes to the output dimensions of the tokens it promotes. A *routing* neuron
writes to a wire only, so its direct effect on every logit is exactly 0, and a named later neuron reads that wire.
Attention writes nothing: the next token depends on the last token alone. All other neurons have small random weights
and write to output dimensions only.

Torch is not needed to write the files.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from neuron_atlas.core.records import NeuronId
from neuron_atlas.demo.tokenizer import BOS_ID, EOS_ID, PAD_ID, SPECIAL_TOKENS, build_tokenizer, save_tokenizer

Array = NDArray[np.float32]

LAYERS, NEURONS, WIDTH, HEADS, KEY_VALUE_HEADS = 4, 24, 128, 4, 2
CONSTANT = 12.0  # the constant's size in every embedding: it keeps the norm's scale nearly the same everywhere
GATE_ON, GATE_OFF, UP_ON = 6.0, -8.0, 0.35
LOGIT_WRITE, WIRE_WRITE = 3.0, 1.0
WIRE_MARGIN = 0.9  # wire readers expect nine tenths of the signal: writing shrinks the norm's scale
NOISE = 0.02

_PLACES = ("Dallas", "Houston", "Alamo", "Lubbock", "Austin", "Texas")
_ANIMALS = ("cat", "kitten", "lion", "tiger", "purr", "meow")
_PLAIN = ("one", "two", "three", "red", "blue", "green", "run", "walk", "fast", "bread", "butter", "jam")
_SILENT = ("the", "a", "see", "and", "of", "in", "go", "old", "new", "tree")
_OPENINGS = ("the", "a", "see", "go")


@dataclass(frozen=True)
class PlantedNeuron:
    """One neuron whose behaviour was written by hand.

    ``fires_on``: the tokens at whose position it is active. ``promotes``: the tokens whose logits it raises, itself
    (kind ``logit``) or through ``via`` and what follows it (kind ``routing``). ``reads_tokens``: it sees the embedding
    itself; otherwise it fires because an earlier planted neuron does. ``polarity``: the sign of its activation.
    """

    id: NeuronId
    kind: Literal["logit", "routing"]
    fires_on: tuple[str, ...]
    promotes: tuple[str, ...]
    via: NeuronId | None
    reads_tokens: bool
    polarity: Literal[1, -1] = 1


@dataclass(frozen=True)
class PlantedModule:
    """A group of planted neurons wired to one another."""

    name: str
    members: tuple[NeuronId, ...]
    wires: tuple[tuple[NeuronId, NeuronId], ...]


@dataclass(frozen=True)
class PlantedTruth:
    """What was written into the model in ``folder``, and prompts on which each planted neuron shows itself."""

    folder: Path
    neurons: tuple[PlantedNeuron, ...]
    modules: tuple[PlantedModule, ...]
    prompts: tuple[str, ...]
    silent_prompts: tuple[str, ...]

    def neuron(self, neuron_id: NeuronId) -> PlantedNeuron:
        """The planted neuron of that id; raises KeyError when nothing was planted there."""
        return {planted.id: planted for planted in self.neurons}[neuron_id]


@dataclass(frozen=True)
class _Plan:
    """What to write for one neuron: it reads tokens or a wire, and writes logits, a wire, or both."""

    layer: int
    neuron: int
    reads: tuple[str, ...] | int
    promotes: tuple[str, ...] = ()
    wire: int | None = None
    polarity: Literal[1, -1] = 1


# Wires are numbered; a neuron that reads a wire stands in a later layer than all that write it.
_PLANS: dict[str, tuple[_Plan, ...]] = {
    "texas": (
        _Plan(0, 1, (" Dallas", " Houston"), wire=0),
        _Plan(0, 2, (" Alamo", " Lubbock"), wire=0),
        _Plan(1, 4, 0, wire=1),
        _Plan(2, 2, 1, promotes=(" Austin",), wire=2),
        _Plan(3, 5, 2, promotes=(" Texas",)),
    ),
    "cats": (
        _Plan(0, 7, (" cat", " kitten"), wire=3),
        _Plan(0, 8, (" lion", " tiger"), wire=3),
        _Plan(1, 9, 3, wire=4),
        _Plan(2, 10, 4, promotes=(" purr",), wire=5),
        _Plan(3, 11, 5, promotes=(" meow",)),
    ),
    "": (
        _Plan(0, 14, (" one", " two"), promotes=(" three",)),
        _Plan(1, 15, (" red", " blue"), promotes=(" green",)),
        _Plan(2, 16, (" run", " walk"), promotes=(" fast",), polarity=-1),
        _Plan(3, 17, (" bread",), promotes=(" butter", " jam")),
    ),
}
_ALL_PLANS = tuple(plan for plans in _PLANS.values() for plan in plans)

_TOKENS = (*_OPENINGS, *(f" {word}" for word in (*_PLACES, *_ANIMALS, *_PLAIN, *_SILENT)), ".")
_VOCABULARY = len(SPECIAL_TOKENS) + len(_TOKENS)
_CONSTANT_DIM = _VOCABULARY
_FIRST_WIRE = _CONSTANT_DIM + 1
_FIRST_OUTPUT = WIDTH - _VOCABULARY


def write_planted_model(folder: Path) -> PlantedTruth:
    """Write weights, config and tokenizer to ``folder`` (created if missing) and say what was planted."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(_weights(), folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(_config(), indent=2) + "\n", encoding="utf-8")
    save_tokenizer(build_tokenizer(_TOKENS, pattern=r" ?[^ .]+|\."), folder, longest=32)
    fired = dict.fromkeys(token for plan in _ALL_PLANS for token in _fires_on(plan))
    return PlantedTruth(
        folder=folder,
        neurons=tuple(_planted(plan) for plan in _ALL_PLANS),
        modules=tuple(_module(name, plans) for name, plans in _PLANS.items() if name),
        prompts=tuple(f"see the{token}" for token in fired),
        silent_prompts=("see the old tree", "go in the new tree", "a tree and the old"),
    )


def _weights() -> dict[str, Array]:
    rng = np.random.default_rng(0)
    embeddings = np.zeros((_VOCABULARY, WIDTH), np.float32)
    embeddings[:, :_VOCABULARY] = np.eye(_VOCABULARY)
    embeddings[:, _CONSTANT_DIM] = CONSTANT
    unembedding = np.zeros((_VOCABULARY, WIDTH), np.float32)
    unembedding[:, _FIRST_OUTPUT:] = np.eye(_VOCABULARY)
    weights: dict[str, Array] = {
        "model.embed_tokens.weight": embeddings,
        "model.norm.weight": np.ones(WIDTH, np.float32),
        "lm_head.weight": unembedding,
    }
    head = WIDTH // HEADS
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}"
        gate, up, down = (rng.normal(0, NOISE, (NEURONS, WIDTH)).astype(np.float32) for _ in range(3))
        down[:, :_FIRST_OUTPUT] = 0.0
        for plan in (plan for plan in _ALL_PLANS if plan.layer == layer):
            gate[plan.neuron], up[plan.neuron], down[plan.neuron] = _write_neuron(plan)
        weights |= {
            f"{prefix}.input_layernorm.weight": np.ones(WIDTH, np.float32),
            f"{prefix}.post_attention_layernorm.weight": np.ones(WIDTH, np.float32),
            f"{prefix}.self_attn.q_proj.weight": np.zeros((WIDTH, WIDTH), np.float32),
            f"{prefix}.self_attn.k_proj.weight": np.zeros((KEY_VALUE_HEADS * head, WIDTH), np.float32),
            f"{prefix}.self_attn.v_proj.weight": np.zeros((KEY_VALUE_HEADS * head, WIDTH), np.float32),
            f"{prefix}.self_attn.o_proj.weight": np.zeros((WIDTH, WIDTH), np.float32),
            f"{prefix}.mlp.gate_proj.weight": gate,
            f"{prefix}.mlp.up_proj.weight": up,
            f"{prefix}.mlp.down_proj.weight": np.ascontiguousarray(down.T),
        }
    return weights


def _write_neuron(plan: _Plan) -> tuple[Array, Array, Array]:
    """Gate row, up row and down column, each [WIDTH] float32, for the norm's scale at a bare embedding."""
    scale = 1.0 / np.sqrt((CONSTANT**2 + 1.0) / WIDTH)
    gate, up, down = (np.zeros(WIDTH, np.float32) for _ in range(3))
    if isinstance(plan.reads, int):
        dims, size, threshold = [_FIRST_WIRE + plan.reads], WIRE_MARGIN * UP_ON * GATE_ON * WIRE_WRITE, GATE_ON / 2
    else:
        dims, size, threshold = [_token_id(token) for token in plan.reads], 1.0, GATE_OFF
    gate[dims] = (GATE_ON - threshold) / (scale * size)
    gate[_CONSTANT_DIM] = threshold / (scale * CONSTANT)
    up[dims] = plan.polarity * UP_ON / (scale * size)
    for token in plan.promotes:
        down[_FIRST_OUTPUT + _token_id(token)] = plan.polarity * LOGIT_WRITE
    if plan.wire is not None:
        down[_FIRST_WIRE + plan.wire] = plan.polarity * WIRE_WRITE
    return gate, up, down


def _planted(plan: _Plan) -> PlantedNeuron:
    readers = _readers(plan)
    return PlantedNeuron(
        id=NeuronId(plan.layer, plan.neuron),
        kind="logit" if plan.promotes else "routing",
        fires_on=_fires_on(plan),
        promotes=_promotes(plan),
        via=None if plan.promotes else NeuronId(readers[0].layer, readers[0].neuron),
        reads_tokens=not isinstance(plan.reads, int),
        polarity=plan.polarity,
    )


def _module(name: str, plans: tuple[_Plan, ...]) -> PlantedModule:
    return PlantedModule(
        name=name,
        members=tuple(NeuronId(plan.layer, plan.neuron) for plan in plans),
        wires=tuple(
            (NeuronId(source.layer, source.neuron), NeuronId(target.layer, target.neuron))
            for source in plans
            for target in _readers(source)
        ),
    )


def _readers(plan: _Plan) -> tuple[_Plan, ...]:
    return () if plan.wire is None else tuple(other for other in _ALL_PLANS if other.reads == plan.wire)


def _fires_on(plan: _Plan) -> tuple[str, ...]:
    if not isinstance(plan.reads, int):
        return plan.reads
    return tuple(token for other in _ALL_PLANS if other.wire == plan.reads for token in _fires_on(other))


def _promotes(plan: _Plan) -> tuple[str, ...]:
    """What a logit neuron promotes itself; for a routing neuron, what all later neurons on its wire promote."""
    if plan.promotes:
        return plan.promotes
    return tuple(token for other in _readers(plan) for token in (*_promotes(other), *_onward(other)))


def _onward(plan: _Plan) -> tuple[str, ...]:
    """What is promoted after a logit neuron by the neurons on its wire."""
    if not plan.promotes:
        return ()
    return tuple(token for other in _readers(plan) for token in (*_promotes(other), *_onward(other)))


def _token_id(token: str) -> int:
    return len(SPECIAL_TOKENS) + _TOKENS.index(token)


def _config() -> dict[str, object]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": _VOCABULARY,
        "hidden_size": WIDTH,
        "intermediate_size": NEURONS,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KEY_VALUE_HEADS,
        "head_dim": WIDTH // HEADS,
        "hidden_act": "silu",
        "max_position_embeddings": 32,
        "rms_norm_eps": 1e-6,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
        "tie_word_embeddings": False,
        "attention_bias": False,
        "mlp_bias": False,
        "dtype": "float32",
        "bos_token_id": BOS_ID,
        "eos_token_id": EOS_ID,
        "pad_token_id": PAD_ID,
    }
