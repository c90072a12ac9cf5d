"""Measurements as rows of table `faithfulness`: one for each protocol, method and size."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from neuron_atlas.core.attribution.faithfulness.correlations_over_prompts import (
    EffectComparison,
    Estimate,
    mean_of,
    pearson,
    share_of,
    spearman,
)

RANDOM = "random"
"""The method of circuits drawn at random; several draws (`random 0`, `random 1`) are averaged."""

Floats = NDArray[np.float64]


def correlation_rows(
    protocol: str, compared: Sequence[EffectComparison], *, seed: int, n: int = 0
) -> list[dict[str, object]]:
    """One row for each method: its correlations within each prompt, averaged over prompts."""
    if not compared:
        return []
    rows: list[dict[str, object]] = []
    for method in compared[0].predicted:
        pairs = [(one.predicted[method], one.measured) for one in compared]
        drawn = _seed(seed, protocol, method, n)
        rows.append(
            {
                **_identity(protocol, method, n),
                "n_prompts": len(pairs),
                "n_runs": sum(len(measured) for _, measured in pairs),
                **_columns("pearson", mean_of([pearson(*pair) for pair in pairs], seed=drawn)),
                **_columns("spearman", mean_of([spearman(*pair) for pair in pairs], seed=drawn)),
                **_columns("share", None),
            }
        )
    return rows


def share_rows(
    protocol: str, parts: Mapping[tuple[str, int], Floats], whole: Floats, *, seed: int
) -> list[dict[str, object]]:
    """One row for each method and size: its part of the whole effect, a ratio of means over prompts."""
    draws: dict[tuple[str, int], list[Floats]] = {}
    for (method, n), part in parts.items():
        draws.setdefault((RANDOM if method.startswith(RANDOM) else method, n), []).append(part)
    return [
        {
            **_identity(protocol, method, n),
            "n_prompts": len(whole),
            "n_runs": len(whole) * len(found),
            **_columns("pearson", None),
            **_columns("spearman", None),
            **_columns("share", share_of(np.mean(found, axis=0), whole, seed=_seed(seed, protocol, method, n))),
        }
        for (method, n), found in draws.items()
    ]


def _identity(protocol: str, method: str, n: int) -> dict[str, object]:
    return {"protocol": protocol, "method": method, "n": n}


def _columns(name: str, estimate: Estimate | None) -> dict[str, object]:
    if estimate is None:
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


def _seed(seed: int, *parts: object) -> int:
    return zlib.crc32(repr((seed, *parts)).encode())
