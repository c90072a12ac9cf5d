"""The effect of neurons on the answer: change them in the real model and compare with the same change of random sets.

A **site** is a neuron at one position, or at every position. A change says which activation the sites get:

    zeroed        0
    scaled        a multiple of their own
    averaged      their mean over prompts of the same template
    transplanted  their activation on another prompt (the donor)

A donor of the same template has its tokens at the same positions; `align` refuses prompts of different length unless told which
position corresponds to which, because an activation from another position means nothing.

A random set is as many other neurons of the same layers at the same positions: what its change does, any change of this size does.
Not here: holding neurons while the model writes (`core/publication/view/steering.py`, which turns filters into edits).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from neuron_atlas.core.circuits.analysis.analysis_record import (
    Effect,
    TokenChange,
)
from neuron_atlas.core.ports import Array, SubjectModel
from neuron_atlas.core.records import Edit
from neuron_atlas.errors import BadInput


@dataclass(frozen=True, slots=True, order=True)
class Site:
    """A neuron at one position (from 0), or at every position (None)."""

    layer: int
    neuron: int
    position: int | None = None


Change: TypeAlias = Callable[[Sequence[Site]], list[Edit]]
"""The edits that change a set of sites."""


@dataclass(frozen=True)
class Steered:
    """The effect of one change.

    `tokens`: one row per token asked for: token_id, token, logit, logit_after, logit_change, probability, probability_after,
    random_change (mean logit change over random sets), random_std, random_share (share of random sets that change the logit at
    least as much, either way). `top` and `top_after` are the likeliest token ids before and after, `random_top_kept` the share of
    random sets that leave the likeliest token as it was. The random columns are missing (`random_top_kept` None) where no
    random set could be drawn.
    """

    tokens: pl.DataFrame
    n_sites: int
    n_random_sets: int
    top: int
    top_after: int
    random_top_kept: float | None


def sites_of(instances: pl.DataFrame) -> list[Site]:
    """The sites of rows with columns layer, neuron, position, each once, in order."""
    rows = instances.select("layer", "neuron", "position").unique().sort("layer", "neuron", "position")
    return [Site(layer, neuron, position) for layer, neuron, position in rows.iter_rows()]


def zeroed(sites: Sequence[Site]) -> list[Edit]:
    """Every site to 0."""
    return [Edit(site.layer, site.neuron, 0.0, site.position) for site in sites]


def scaled(factor: float) -> Change:
    """Every site to a multiple of its activation in the changed run; a negative factor reverses its sign."""
    return lambda sites: [Edit(site.layer, site.neuron, factor, site.position, "scale") for site in sites]


def averaged(activations: Sequence[Array]) -> Change:
    """Every site to its mean over other prompts of the same template: activations [L, T, I] of one shape, averaged position by
    position.

    Raises `BadInput` without prompts or for prompts of different length.
    """
    lengths = {one.shape[1] for one in activations}
    if len(lengths) != 1:
        raise BadInput(f"a mean needs prompts of one length, position by position; got lengths {sorted(lengths)}")
    mean = np.mean([one.astype(np.float64) for one in activations], axis=0).astype(np.float32)
    return transplanted(mean, {position: position for position in range(mean.shape[1])})


def transplanted(donor: Array, places: Mapping[int, int]) -> Change:
    """Every site to its activation on a donor [L, T, I]; `places` maps own positions to the donor's (see `align`).

    A site at every position is changed at the aligned ones; one whose position has no counterpart in the donor is not changed.
    """

    def change(sites: Sequence[Site]) -> list[Edit]:
        return [
            Edit(site.layer, site.neuron, float(donor[site.layer, places[position], site.neuron]), position)
            for site in sites
            for position in (places if site.position is None else (site.position,))
            if position in places
        ]

    return change


def align(own: Sequence[int], donor: Sequence[int], *, places: Mapping[int, int] | None = None) -> dict[int, int]:
    """The donor's position for every own position: the same one for prompts of equal length.

    `places` gives them, and then lengths may differ; negative positions count from the end. Raises `BadInput` for
    unequal lengths without `places`, or for a position outside a prompt.
    """
    if places is None:
        if len(own) != len(donor):
            raise BadInput(
                f"the prompts have {len(own)} and {len(donor)} tokens, so their positions do not match; expected two "
                "prompts of one template and equal length, or `places` that map own positions to the donor's, e.g. {-1: -1}"
            )
        return {position: position for position in range(len(own))}
    outside = [
        pair for pair in places.items() if not (-len(own) <= pair[0] < len(own) and -len(donor) <= pair[1] < len(donor))
    ]
    if outside:
        raise BadInput(
            f"positions {outside[0][0]} to {outside[0][1]} are outside prompts of {len(own)} and {len(donor)} tokens"
        )
    return {mine % len(own): theirs % len(donor) for mine, theirs in places.items()}


def random_sets(
    sites: Collection[Site], *, n_neurons: int, count: int, rng: np.random.Generator, avoid: Collection[Site] = ()
) -> list[list[Site]]:
    """`count` random sets with as many other neurons per layer and position.

    Neurons of `sites` and of `avoid` at the same place are not drawn. Empty where a layer has too few other neurons.
    """
    at: dict[tuple[int, int | None], set[int]] = {}
    taken: dict[tuple[int, int | None], set[int]] = {}
    for site in sites:
        at.setdefault((site.layer, site.position), set()).add(site.neuron)
    for site in (*sites, *avoid):
        taken.setdefault((site.layer, site.position), set()).add(site.neuron)
    drawn: list[list[Site]] = [[] for _ in range(count)]
    for (layer, position), own in sorted(at.items(), key=lambda item: (item[0][0], item[0][1] or 0)):
        others = np.setdiff1d(np.arange(n_neurons), sorted(taken[layer, position]))
        if len(others) < len(own):
            return []
        for one in drawn:
            picked = rng.choice(others, size=len(own), replace=False)
            one.extend(Site(layer, int(neuron), position) for neuron in np.sort(picked))
    return drawn


def steer(
    model: SubjectModel,
    token_ids: Sequence[int],
    sites: Collection[Site],
    change: Change,
    *,
    tokens: Sequence[int],
    position: int = -1,
    n_random_sets: int = 20,
    avoid: Collection[Site] = (),
    seed: int = 0,
) -> Steered:
    """Run a prompt with `sites` changed, and once for each random set changed likewise; `tokens` are the ids to report.

    Random sets leave out the neurons of `avoid` as well. Raises `BadInput` for no site, or one outside the model or prompt.
    """
    if not sites:
        raise BadInput("no neuron to change is given; expected at least one neuron")
    own = sorted(sites, key=lambda site: (site.layer, site.neuron, -1 if site.position is None else site.position))
    rng = np.random.default_rng(seed)
    others = random_sets(own, n_neurons=model.spec.n_neurons, count=n_random_sets, rng=rng, avoid=avoid)
    edits = [[], change(own), *(change(one) for one in others)]
    logits = model.logits(token_ids, edits=edits, position=position).astype(np.float64)
    probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    wanted = list(tokens)
    changes = logits[1:, wanted] - logits[0, wanted]
    by_chance, n = changes[1:], len(wanted)
    at_least = np.abs(by_chance) >= np.abs(changes[0])
    frame = pl.DataFrame(
        {
            "token_id": pl.Series(wanted, dtype=pl.Int32),
            "token": pl.Series([model.token_text(one) for one in wanted], dtype=pl.String),
            "logit": logits[0, wanted],
            "logit_after": logits[1, wanted],
            "logit_change": changes[0],
            "probability": probabilities[0, wanted],
            "probability_after": probabilities[1, wanted],
            "random_change": _per_token(n, by_chance.mean(axis=0) if others else None),
            "random_std": _per_token(n, by_chance.std(axis=0) if others else None),
            "random_share": _per_token(n, at_least.mean(axis=0) if others else None),
        }
    )
    tops = logits.argmax(axis=1)
    kept = float((tops[2:] == tops[0]).mean()) if others else None
    return Steered(frame, len(own), len(others), int(tops[0]), int(tops[1]), kept)


def _per_token(n: int, values: NDArray[np.float64] | None) -> pl.Series:
    """One number for each of n tokens, missing without random sets."""
    return pl.Series([None] * n if values is None else values.tolist(), dtype=pl.Float64)


def effect_of(steered: Steered, model: SubjectModel) -> Effect:
    """A change's effect as it is stored."""
    return Effect(
        n_neurons=steered.n_sites,
        n_random_sets=steered.n_random_sets,
        top=model.token_text(steered.top),
        top_after=model.token_text(steered.top_after),
        random_top_kept=steered.random_top_kept,
        tokens=tuple(TokenChange(**row) for row in steered.tokens.iter_rows(named=True)),
    )
