"""The sweep against the slow way, and its laws: every cut, block size and bundling gives the same numbers."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from neuron_atlas.core.attribution.effects.direct_effects import direct_effects, node_vectors
from neuron_atlas.core.attribution.effects.relevance import relevance_to_goals
from neuron_atlas.core.attribution.effects.sweep_plan import Endpoints, HardwareProfile, Sizes, plan_sweep
from neuron_atlas.core.attribution.effects.total_effects import total_effects
from neuron_atlas.core.attribution.linearisation.replay import replay
from neuron_atlas.core.attribution.select_nodes import Nodes


def everything(world) -> Nodes:
    """All neurons of a world, in order."""
    shape = (len(world.model.layers), world.frozen.length, world.model.n_neurons)
    layers, positions, neurons = np.unravel_index(np.arange(np.prod(shape)), shape)
    return Nodes(layers, positions, neurons)


def some(world, seed: int, count: int) -> tuple[Nodes, np.ndarray]:
    """Random neurons of a world, in order, and their places among all."""
    shape = (len(world.model.layers), world.frozen.length, world.model.n_neurons)
    chosen = np.sort(np.random.default_rng(seed).choice(np.prod(shape), count, replace=False))
    return Nodes(*np.unravel_index(chosen, shape)), chosen


def test_replay_parts_add_up_to_the_model(world) -> None:
    streams = replay(world.model, world.frozen)
    assert_close(streams.final.sum(0)[-1] @ world.last_logits.T, world.frozen.logits, rtol=1e-5, atol=1e-6)
    assert streams.parts == ("embeddings", "neurons", "constants")
    assert streams.before_mlp[0, 1].abs().max() == 0, "no neuron lies below the first MLP"


def test_a_part_is_the_same_alone(world) -> None:
    whole, alone = replay(world.model, world.frozen), replay(world.model, world.frozen, parts=("constants",))
    assert_close(alone.before_mlp[:, 0], whole.before_mlp[:, 2], rtol=1e-5, atol=1e-6)
    assert_close(alone.final[0], whole.final[2], rtol=1e-5, atol=1e-6)


def test_direct_effects_equal_automatic_differentiation(world, slow) -> None:
    nodes = everything(world)
    effects = direct_effects(
        world.model, world.frozen, node_vectors(world.model, world.frozen, nodes, world.last_logits)
    )
    assert_close(effects, torch.cat(slow(world, is_cut=True)), rtol=1e-5, atol=1e-6)


def test_total_effects_equal_automatic_differentiation(world, slow) -> None:
    nodes = everything(world)
    vectors = node_vectors(world.model, world.frozen, nodes, world.last_logits)
    expected = torch.cat(slow(world, is_cut=False))
    # The slow way also gives every neuron its effect on itself, which is no edge.
    expected[:, world.frozen.length :].fill_diagonal_(0.0)
    for cells in (2048, 11):
        effects = total_effects(world.model, world.frozen, nodes, vectors, hardware=HardwareProfile(cells=cells))
        assert_close(effects, expected, rtol=1e-5, atol=1e-6)


def test_relevance_to_several_goals_equals_automatic_differentiation(world, slow) -> None:
    _, on_logits = slow(world, is_cut=False)
    (scores,) = relevance_to_goals(world.model, [world.frozen], [world.last_logits])
    assert_close(scores.embeddings, on_logits[:, : world.frozen.length], rtol=1e-5, atol=1e-6)
    assert_close(scores.neurons.flatten(1), on_logits[:, world.frozen.length :], rtol=1e-5, atol=1e-6)


def test_prompts_of_unequal_length_are_scored_together_as_alone(make) -> None:
    prompts = [make(seed, length=length).frozen for seed, length in ((1, 3), (2, 6), (3, 1))]
    world = make(0)
    goals = [world.last_logits[start : start + 2] for start in range(3)]
    together = relevance_to_goals(world.model, prompts, goals)
    for prompt, goal, scores in zip(prompts, goals, together, strict=True):
        (alone,) = relevance_to_goals(world.model, [prompt], [goal])
        assert_close(scores.neurons, alone.neurons, rtol=1e-5, atol=1e-6)
        assert_close(scores.embeddings, alone.embeddings, rtol=1e-5, atol=1e-6)
        assert_close(scores.bias, alone.bias, rtol=1e-5, atol=1e-6)


def test_relevance_of_embeddings_and_constants_is_the_goal(world) -> None:
    (scores,) = relevance_to_goals(world.model, [world.frozen], [world.last_logits])
    assert_close(scores.embeddings.sum(1) + scores.bias, world.frozen.logits, rtol=1e-5, atol=1e-5)


def test_relevance_is_direct_effect_plus_flow_through_every_later_neuron(world) -> None:
    """R(s) = w(s -> goal) + sum over t of w(s -> t) / v_t · R(t), with all neurons as nodes."""
    nodes = everything(world)
    goal = world.last_logits[:1]
    effects = direct_effects(world.model, world.frozen, node_vectors(world.model, world.frozen, nodes, goal)).double()
    (scores,) = relevance_to_goals(world.model, [world.frozen], [goal])
    relevance = scores.neurons[0].flatten().double()
    values = torch.stack([layer.activation for layer in world.frozen.layers]).flatten().double()
    sources = torch.cat([scores.embeddings[0].double(), relevance])
    assert_close(effects[-1] + (relevance / values) @ effects[:-1], sources, rtol=1e-3, atol=1e-4)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**20),
    layers=st.integers(1, 4),
    length=st.integers(1, 6),
    kv_heads=st.sampled_from([1, 2]),
    count=st.integers(0, 25),
    cells=st.integers(1, 60),
    call_flops=st.sampled_from([0.0, 1e3, 1e9]),
)
def test_every_cut_block_and_bundling_gives_the_same_effects(
    make, seed: int, layers: int, length: int, kv_heads: int, count: int, cells: int, call_flops: float
) -> None:
    world = make(seed, layers=layers, length=length, kv_heads=kv_heads)
    nodes, _ = some(world, seed, min(count, layers * length * world.model.n_neurons))
    vectors = node_vectors(world.model, world.frozen, nodes, world.last_logits[:2])
    expected = direct_effects(world.model, world.frozen, vectors)
    hardware = HardwareProfile(call_flops=call_flops, cells=cells)
    for cut in range(layers + 1):
        effects = direct_effects(world.model, world.frozen, vectors, hardware=hardware, cut=cut)
        assert_close(effects, expected, rtol=1e-4, atol=1e-5)


def test_effects_of_chosen_nodes_are_a_part_of_the_effects_of_all(world) -> None:
    whole = direct_effects(
        world.model, world.frozen, node_vectors(world.model, world.frozen, everything(world), world.last_logits)
    )
    nodes, chosen = some(world, seed=3, count=20)
    part = direct_effects(world.model, world.frozen, node_vectors(world.model, world.frozen, nodes, world.last_logits))
    n_logits, length = len(world.last_logits), world.frozen.length
    rows = np.concatenate([chosen, len(whole) - n_logits + np.arange(n_logits)])
    columns = np.concatenate([np.arange(length), length + chosen])
    assert_close(part, whole[rows][:, columns], rtol=1e-5, atol=1e-6)


def test_one_goal_does_not_share_memory_with_what_it_is_made_from(world) -> None:
    """With k = 1 rows could alias the goal's vector and change it; a second run would then differ."""
    goal = world.last_logits[:1].clone()
    before = goal.clone()
    first = relevance_to_goals(world.model, [world.frozen], [goal])[0].neurons.clone()
    nodes, _ = some(world, 1, 10)
    vectors = node_vectors(world.model, world.frozen, nodes, goal)
    effects = direct_effects(world.model, world.frozen, vectors)
    assert torch.equal(goal, before)
    assert torch.equal(first, relevance_to_goals(world.model, [world.frozen], [goal])[0].neurons)
    assert torch.equal(effects, direct_effects(world.model, world.frozen, vectors))


SIZES = Sizes(width=64, value_width=32, head_width=64, n_layers=6)


def ends(rng: np.random.Generator, count: int, low: int, high: int, length: int) -> Endpoints:
    order = np.lexsort((positions := rng.integers(0, length, count), layers := rng.integers(low, high, count)))
    return Endpoints(layers[order], positions[order])


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**20), length=st.integers(1, 20), call_flops=st.sampled_from([0.0, 1e6, 1e12]))
def test_a_plan_places_every_row_once_and_where_its_cells_are(seed: int, length: int, call_flops: float) -> None:
    rng = np.random.default_rng(seed)
    sources, targets = ends(rng, 30, -1, 6, length), ends(rng, 30, 0, 7, length)
    plan = plan_sweep(sources, targets, length=length, sizes=SIZES, hardware=HardwareProfile(call_flops=call_flops))
    up = np.concatenate([bundle.rows for bundle in plan.up] or [np.array([], int)])
    down = np.concatenate([bundle.rows for bundle in plan.down] or [np.array([], int)])
    assert sorted(up) == np.flatnonzero(sources.layers < plan.cut - 1).tolist()
    assert sorted(down) == np.flatnonzero(targets.layers >= plan.cut).tolist()
    for bundle in plan.up:
        assert (sources.positions[bundle.rows] >= bundle.low).all()
        assert (np.diff(sources.layers[bundle.rows]) >= 0).all()
    for bundle in plan.down:
        assert (targets.positions[bundle.rows] < bundle.high).all()
        assert (np.diff(targets.layers[bundle.rows]) <= 0).all()
    if call_flops == 1e12:  # a call costs more than everything: one bundle each way
        assert len(plan.up) <= 1
        assert len(plan.down) <= 1


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**20), cut=st.integers(0, 6))
def test_the_closed_form_counts_the_work_of_a_cut(seed: int, cut: int) -> None:
    """Row by row: a source at p has length - p cells in every attention up to the cut, a target p + 1 from its own down to
    it; where they meet, every pair shares the positions from source to target (at the top only the last)."""
    length = 7
    rng = np.random.default_rng(seed)
    sources, targets = ends(rng, 12, -1, 6, length), ends(rng, 12, 0, 7, length)
    work = 0.0
    up = [(layer, p) for layer, p in zip(sources.layers, sources.positions, strict=True) if layer < cut - 1]
    down = [(layer, p) for layer, p in zip(targets.layers, targets.positions, strict=True) if layer >= cut]
    for layer, p in up:
        work += (cut - 1 - layer) * (length - p) * SIZES.attention(length - int(p))
    for layer, p in down:
        work += (min(layer, 5) - cut + 1) * (p + 1) * SIZES.attention(int(p) + 1)
    for (_, low), (_, high) in itertools.product(up, down):
        work += 2 * SIZES.width * (1 if cut == 6 else max(0, high - low + 1))
    plan = plan_sweep(sources, targets, length=length, sizes=SIZES, hardware=HardwareProfile(), cut=cut)
    assert plan.flops == pytest.approx(work)
    assert plan_sweep(sources, targets, length=length, sizes=SIZES, hardware=HardwareProfile()).flops <= plan.flops


def test_a_meeting_that_does_not_fit_is_not_planned() -> None:
    rng = np.random.default_rng(0)
    sources, targets = ends(rng, 300, -1, 6, 20), ends(rng, 300, 0, 7, 20)
    roomy = plan_sweep(sources, targets, length=20, sizes=SIZES, hardware=HardwareProfile())
    tight = plan_sweep(sources, targets, length=20, sizes=SIZES, hardware=HardwareProfile(stored_bytes=1))
    assert 0 < roomy.cut < 6
    assert tight.cut in (0, 6)
    assert tight.flops > roomy.flops
