"""How the demo model is trained: every number that shapes its weights, in one value that is saved beside them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TrainingSettings:
    """Shape of the model and schedule of its training; ``threads`` is here because it changes the rounding.

    ``attention_decay`` is the weight decay of query and key projections. With the decay of the other weights,
    attention learns to signal a subject's number by whether it attends to the subject, a switch that no linear attribution can
    follow. Decayed seven times as fast, attention only selects the position, and the values carry the number.
    """

    seed: int = 7
    steps: int = 1600
    batch_size: int = 96
    learning_rate: float = 2e-3
    weight_decay: float = 0.1
    attention_decay: float = 0.7
    embedding_std: float = 0.02
    warmup_steps: int = 100
    threads: int = 1
    hidden_size: int = 128
    intermediate_size: int = 384
    layers: int = 6
    heads: int = 4
    key_value_heads: int = 2
    longest: int = 64
