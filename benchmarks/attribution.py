"""How fast exact direct edges are, beside other ways to them, and how time grows with nodes and tokens.

    python benchmarks/attribution.py                       all lines, into benchmarks/results/attribution.md (an hour)
    python benchmarks/attribution.py --lines S100 S500     some of them; the others stay as they are
    python benchmarks/attribution.py --quick               the small model at 100 nodes, nothing written (seconds)

Random Llama models: S = 8 layers of width 512 with 1,792 neurons, M = 16 layers of width 1,024 with 3,584. 24 tokens, 5
logits, float32. The first table times the edges alone: from selected nodes to all direct effects between them. The second goes
from token ids to kept edges (1/100 of their target's value): one pass, relevance of every neuron, selection of the N largest,
edges, and for ours every target's exact remainder and the scores; the other ways stop at the edges. All ways share what is
before them. Before a time is reported the ways are compared: every edge agrees to 1e-4 of its target's largest, and the kept
sets are compared.

Times are the best of several runs, by the wall clock or (`--clock cpu`) in processor seconds, which a busy machine does not
stretch. `peak` is the best matrix product of this process in the same clock; the share of peak counts all floating point
operations of the run.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from attribution_baselines import autograd_edges, folded_edges, lean_edges, published_edges
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlamaConfig, LlamaForCausalLM

from neuron_atlas.adapters.subject_model.families import family_of
from neuron_atlas.adapters.subject_model.huggingface import HuggingFaceModel
from neuron_atlas.core.attribution.attribute import whole_inflow
from neuron_atlas.core.attribution.effects.direct_effects import NodeVectors, direct_effects, node_vectors
from neuron_atlas.core.attribution.effects.graph_scores import Inflow, score_graph
from neuron_atlas.core.attribution.effects.relevance import relevance_to_goals
from neuron_atlas.core.attribution.effects.total_effects import total_effects
from neuron_atlas.core.attribution.linearisation.freeze import FrozenModel, freeze
from neuron_atlas.core.attribution.linearisation.goal import LinearGoal, choose_goal, linearise_goal
from neuron_atlas.core.attribution.linearisation.rules import rule_set
from neuron_atlas.core.attribution.select_nodes import Nodes, select_nodes
from neuron_atlas.core.attribution.trace import trace_prompts
from neuron_atlas.core.records import ModelSpec, Prompt, TraceOptions

SHAPES = {"S": (8, 512, 1792), "M": (16, 1024, 3584)}
VOCABULARY = 4096
LOGITS = 5
EDGE_TAU = 0.01
RESULTS = Path(__file__).parent / "results" / "attribution.md"


class NoTokenizer:
    """Ids stand for themselves."""

    special_ids = frozenset[int]()
    unknown_id = None

    def encode(self, prompt: Prompt) -> list[int]:
        return [int(word) for word in prompt.text.split()]

    def token_text(self, token_id: int) -> str:
        return str(token_id)


@dataclass(frozen=True)
class Shared:
    """What every way starts its edges from."""

    ids: list[int]
    frozen: FrozenModel
    linear_goal: LinearGoal
    nodes: Nodes
    vectors: NodeVectors
    logit_ids: tuple[int, ...]


@dataclass(frozen=True)
class Row:
    """One line of the tables. `others` are seconds for edges by way (missing: not run), `edges` ours; `shared` is what comes
    before them, `ours` all of it, `with_map` with the total effect of every token on every node. Shares are of the peak."""

    name: str
    dense: int
    kept: int
    others: Mapping[str, float]
    edges: float
    edges_share: float
    shared: float
    ours: float
    with_map: float
    ours_share: float


WAYS = ("published", "autograd", "folded", "lean")


def build(name: str) -> HuggingFaceModel:
    """A random Llama with one key/value head per two heads of width 64."""
    n_layers, width, n_neurons = SHAPES[name]
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=width,
        intermediate_size=n_neurons,
        num_hidden_layers=n_layers,
        num_attention_heads=width // 64,
        num_key_value_heads=width // 128,
        attn_implementation="eager",
    )
    module = LlamaForCausalLM(config).eval().requires_grad_(False)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim > 1:
                parameter.mul_(2.0)
    spec = ModelSpec(name, "", "LlamaForCausalLM", n_layers, n_neurons, width, VOCABULARY, "float32")
    return HuggingFaceModel(module, family_of("LlamaForCausalLM")(module), NoTokenizer(), spec, max_positions=2048)


def share(model: HuggingFaceModel, ids: list[int], count: int) -> Shared:
    """The pass, the relevances and the selection."""
    recording = model.record([ids])[0]
    frozen = freeze(model.folded, recording, rule_set("relp"))
    goal = choose_goal(model, Prompt(""), frozen.logits, k=LOGITS)
    linear_goal = linearise_goal(model.folded, frozen, goal, centre=False)
    relevance = relevance_to_goals(model.folded, [frozen], [linear_goal.goal_vector[None]])[0].neurons[0].numpy()
    nodes = select_nodes(relevance, goal_value=linear_goal.goal_value, options=TraceOptions(top_n=count))
    vectors = node_vectors(model.folded, frozen, nodes, linear_goal.vectors)
    return Shared(ids, frozen, linear_goal, nodes, vectors, goal.token_ids)


def keep(given: Shared, effects: Tensor) -> Tensor:
    """Kept edges as flat places: the same last step for every way."""
    values = values_of(given)
    return (effects.abs() >= EDGE_TAU * values.abs()[:, None]).logical_and_(effects != 0).flatten().nonzero()[:, 0]


def values_of(given: Shared) -> Tensor:
    """Values [N + k] of all targets."""
    activations = torch.stack([layer.activation for layer in given.frozen.layers])
    places = [torch.as_tensor(array) for array in (given.nodes.layers, given.nodes.positions, given.nodes.neurons)]
    return torch.cat([activations[places[0], places[1], places[2]], given.linear_goal.values])


def ours(model: HuggingFaceModel, ids: list[int], count: int) -> None:
    """The whole graph: edges, exact remainder of every target, scores."""
    given = share(model, ids, count)
    effects = direct_effects(model.folded, given.frozen, given.vectors)
    neurons, bias = whole_inflow(model, given.frozen, given.nodes, given.linear_goal, given.vectors)
    inflow = Inflow(effects, neurons, bias, values_of(given), given.frozen.length)
    layers = given.vectors.targets.layers
    score_graph(inflow, goal_shares=np.full(LOGITS, 1 / LOGITS), layers=layers, edge_tau=EDGE_TAU)


def ours_with_map(model: HuggingFaceModel, ids: list[int], count: int) -> None:
    """The same, and the total effect of every token on every node."""
    ours(model, ids, count)
    given = share(model, ids, count)
    total_effects(model.folded, given.frozen, given.nodes, given.vectors, n_sources=len(ids))


def edges_of(way: str, model: HuggingFaceModel, given: Shared) -> Tensor:
    """Edges by one of the other ways."""
    if way == "published":
        return published_edges(model, given.ids, given.nodes, given.logit_ids)
    if way == "autograd":
        return autograd_edges(model, given.ids, given.nodes, given.logit_ids)
    find = folded_edges if way == "folded" else lean_edges
    return find(model.folded, given.frozen, given.nodes, given.vectors)


def best(work: Callable[[], object], *, clock: Callable[[], float], repeats: int) -> float:
    """The shortest of several runs, in seconds."""
    times: list[float] = []
    for _ in range(repeats):
        start = clock()
        work()
        times.append(clock() - start)
    return min(times)


def measure_peak(clock: Callable[[], float]) -> float:
    """Floating point operations a second of the best matrix product of width 1,536."""
    a, b = torch.randn(2, 1536, 1536)
    return 2 * 1536**3 / best(lambda: a @ b, clock=clock, repeats=12)


def count_operations(work: Callable[[], object]) -> int:
    """Floating point operations of all matrix products, those in place included."""

    def product(_into: Sequence[int], a: Sequence[int], b: Sequence[int], **_: object) -> int:
        return 2 * a[0] * a[1] * b[1]

    def products(_into: Sequence[int], a: Sequence[int], b: Sequence[int], **_: object) -> int:
        return 2 * a[0] * a[1] * a[2] * b[2]

    in_place = {torch.ops.aten.addmm_: product, torch.ops.aten.baddbmm_: products}
    with FlopCounterMode(display=False, custom_mapping=in_place) as counter:
        work()
    return counter.get_total_flops()


def check_same(way: str, given: Shared, mine: Tensor, theirs: Tensor) -> None:
    """Stop when a way finds other edges than the sweep."""
    worst = float(((theirs - mine).abs() / mine.abs().amax(1, keepdim=True)).max())
    kept, also = set(keep(given, mine).tolist()), set(keep(given, theirs).tolist())
    same = len(kept & also) / len(kept | also)
    if worst > 1e-4 or same < 0.9999:
        raise SystemExit(f"{way} finds other edges: off by {worst:.1e} of the largest, kept sets share {same:.6f}")


def run_row(
    model: HuggingFaceModel, count: int, *, tokens: int, clock: Callable[[], float], peak: float, ways: Sequence[str]
) -> Row:
    """Measure one line, beside some of the other ways (the published one once, as it is slow)."""
    ids = np.random.default_rng(tokens).integers(0, VOCABULARY, tokens).tolist()
    with torch.no_grad():
        seconds = best(lambda: ours(model, ids, count), clock=clock, repeats=5)
        shared = best(lambda: share(model, ids, count), clock=clock, repeats=3)
        with_map = best(lambda: ours_with_map(model, ids, count), clock=clock, repeats=3) - shared
        given = share(model, ids, count)
        mine = direct_effects(model.folded, given.frozen, given.vectors)
        edges = best(lambda: direct_effects(model.folded, given.frozen, given.vectors), clock=clock, repeats=7)
        others: dict[str, float] = {}
        for way in ways:
            times: list[float] = []
            for _ in range(1 if way == "published" else 2):
                start = clock()
                found = edges_of(way, model, given)
                times.append(clock() - start)
                check_same(way, given, mine, found)
            others[way] = min(times)
        work = count_operations(lambda: ours(model, ids, count))
        work_on_edges = count_operations(lambda: direct_effects(model.folded, given.frozen, given.vectors))
    row = Row(
        name=f"{model.spec.model_id} {count} nodes, {tokens} tokens",
        dense=int((mine != 0).sum()),
        kept=len(keep(given, mine)),
        others=others,
        edges=edges,
        edges_share=work_on_edges / edges / peak,
        shared=shared,
        ours=seconds,
        with_map=with_map,
        ours_share=work / seconds / peak,
    )
    print(edges_line(row), line(row), sep="\n", flush=True)
    return row


def edges_line(row: Row) -> str:
    """A line of the table of edges alone."""
    shown = [
        f"{row.others[way]:.3f} ({row.others[way] / row.edges:.1f}x)" if way in row.others else "–" for way in WAYS
    ]
    return f"| {row.name} | {' | '.join(shown)} | {row.edges:.3f} | {row.edges_share:.0%} |"


def line(row: Row) -> str:
    """A line of the table from token ids to kept edges."""
    whole = {way: row.shared + seconds for way, seconds in row.others.items()}
    shown = [f"{whole[way]:.3f} ({whole[way] / row.ours:.1f}x)" if way in whole else "–" for way in WAYS]
    return (
        f"| {row.name} | {' | '.join(shown)} | {row.ours:.3f} | {row.with_map:.3f} | {row.ours_share:.0%} | "
        f"{row.dense:,} → {row.kept:,} |"
    )


def many_prompts(model: HuggingFaceModel, count: int, clock: Callable[[], float]) -> str:
    """Seconds a prompt alone and in groups of 16, through `trace_prompts` (frames included)."""
    rng = np.random.default_rng(0)
    prompts = [Prompt(" ".join(map(str, rng.integers(0, VOCABULARY, 24).tolist()))) for _ in range(16)]
    options = TraceOptions(top_n=count)
    alone = (
        best(lambda: [list(trace_prompts(model, [p], options=options)) for p in prompts[:4]], clock=clock, repeats=2)
        / 4
    )
    together = best(lambda: list(trace_prompts(model, prompts, options=options)), clock=clock, repeats=2) / 16
    name = model.spec.model_id
    return f"{name} at {count} nodes: {alone * 1e3:.0f} ms a prompt alone, {together * 1e3:.0f} ms in a group of 16"


EDGES_HEADER = (
    "| model | published s | autograd s | folded s | lean s | ours s | share of peak |",
    "|---|---|---|---|---|---|---|",
)
HEADER = (
    "| model | published s | autograd s | folded s | lean s | ours s | + token map s | share of peak | edges dense → kept |",
    "|---|---|---|---|---|---|---|---|---|",
)
LINES: dict[str, tuple[str, int, int, Sequence[str]]] = {
    **{f"{size}{count}": (size, count, 24, WAYS) for size in SHAPES for count in (100, 500, 2000)},
    **{f"S500@{tokens}": ("S", 500, tokens, ("lean",)) for tokens in (24, 96, 256)},
    **{f"{size}16": (size, 100, 16, ()) for size in SHAPES},
}
"""Name of a line to (model, nodes, tokens, other ways); the last two are about groups of prompts."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure lines and put each into the results as soon as it is known."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one small line, nothing written")
    parser.add_argument(
        "--lines", nargs="*", choices=LINES, default=list(LINES), help="only these; others stay as they are"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    clock = time.perf_counter if given.clock == "wall" else time.process_time
    peak = measure_peak(clock)
    print(f"peak {peak / 1e9:.0f} GFLOP/s\n" + "\n".join((*EDGES_HEADER, *HEADER)), flush=True)
    if given.quick:
        run_row(build("S"), 100, tokens=24, clock=clock, peak=peak, ways=WAYS)
        return
    title = (
        f"{platform.machine()}, {given.threads} thread(s), torch {torch.__version__}, float32, {given.clock} clock, peak "
        f"{peak / 1e9:.0f} GFLOP/s. What is compared and how: the head of `benchmarks/attribution.py`."
    )
    for size in SHAPES:
        wanted = [name for name in given.lines if LINES[name][0] == size]
        model = build(size) if wanted else None
        for name in wanted:
            _, count, tokens, ways = LINES[name]
            if model is not None and name.endswith("16"):
                store(name, many_prompts(model, count, clock), title=title, threads=given.threads, clock=given.clock)
            elif model is not None:
                row = run_row(model, count, tokens=tokens, clock=clock, peak=peak, ways=ways)
                store(name, asdict(row), title=title, threads=given.threads, clock=given.clock)


def store(name: str, found: object, *, title: str, threads: int, clock: str) -> None:
    """Put one line into the results, beside those that are there (kept in a comment at the end by name)."""
    known: dict[str, object] = {}
    if RESULTS.exists():
        known = json.loads(RESULTS.read_text(encoding="utf-8").rsplit("<!--", 1)[1].removesuffix("-->\n"))
    known[name] = found
    rows = {n: Row(**known[n]) for n in LINES if isinstance(known.get(n), dict)}
    table = [row for n, row in rows.items() if "@" not in n]
    growth = [line(row) for n, row in rows.items() if "@" in n]
    groups = [f"- {known[n]}" for n in LINES if n.endswith("16") and n in known]
    command = f"    python benchmarks/attribution.py --threads {threads} --clock {clock}"
    parts = [
        "# Direct edges: time, and share of the machine's peak", "", command, "", title, "",
        "## Edges alone", "", *EDGES_HEADER, *map(edges_line, table), "",
        "## From token ids to kept edges", "", *HEADER, *map(line, table), "",
        "## Growth with tokens", "", *HEADER, *growth, "", "## Several prompts at once", "", *groups, "",
        f"<!--{json.dumps(known, ensure_ascii=False)}-->", "",
    ]  # fmt: skip
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text("\n".join(parts), encoding="utf-8")


if __name__ == "__main__":
    main()
