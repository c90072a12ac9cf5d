"""From prompts to graphs: `trace` for one prompt in Python, `trace_prompt` for one with `TraceOptions`, `trace_prompts` for many.

Prompts are traced in groups, in order, because a pass over few tokens spends its time on reading weights. A prompt that
cannot be traced is quarantined with its reason and does not stop the others. When memory runs out, the group is halved, and so
are the sweeps' buffers; after three tries its prompts are quarantined.

A group's way: encoded here, recorded and made into frames by `graph/build_graphs.py`, its numbers computed by `attribute.py`.
Importing this module does not import torch.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from neuron_atlas.core.attribution.effects.sweep_plan import HardwareProfile
from neuron_atlas.core.attribution.linearisation.rules import rule_set
from neuron_atlas.core.attribution.select_nodes import check_selection
from neuron_atlas.core.records import NeuronId, Prompt, Quarantined, TraceOptions
from neuron_atlas.errors import BadInput, PermanentError, UserError

if TYPE_CHECKING:
    from neuron_atlas.core.attribution.attribute import Encoded, TraceParameters
    from neuron_atlas.core.attribution.graph.traced_graph import TracedGraph
    from neuron_atlas.core.attribution.traceable_model import TraceableModel

GROUP_PROMPTS = 16
"""Prompts that are traced together at most."""
GROUP_TOKENS = 1024
"""Tokens that are traced together at most, padding included."""
TRIES = 3
"""How often a prompt is tried when memory runs out."""


def trace(
    model: TraceableModel,
    prompt: str | Prompt,
    *,
    k: int = 5,
    target_tokens: Sequence[str] | None = None,
    contrast: tuple[str, str] | None = None,
    position: int = -1,
    tau: float = 0.005,
    top_n: int | None = None,
    mass: float | None = None,
    raw: bool = False,
    answer_prefix: str | None = None,
    rules: str = "relp",
    edge_tau: float = 0.01,
    max_nodes: int = 4000,
    centre_logits: bool = False,
    direction: NDArray[np.float32] | None = None,
    exclude: Iterable[str | NeuronId] = (),
) -> TracedGraph:
    """The attribution graph of one prompt.

    The goal is the sum of the k largest logits at `position`, or of `target_tokens`, or the difference of a `contrast`
    (positive, negative), or the logits' product with a `direction` [V]. Nodes are neurons whose |relevance| is at least
    `tau` of the goal, or the `top_n` largest, or the smallest set that holds a share `mass`. An edge is kept from
    `edge_tau` of its target's value on. A `Prompt` brings its own answers, position and form; then those arguments stay
    unset. Neurons of `exclude` are never nodes (`Atlas.always_on` finds those that are part of nearly every graph). Raises
    `BadInput` for a prompt or option that cannot be traced.
    """
    if isinstance(prompt, str):
        answers = tuple(target_tokens or ())
        prompt = Prompt(prompt, answer_prefix, answers, contrast, position, raw)
    elif target_tokens or contrast or answer_prefix or raw or position != -1:
        raise BadInput(
            "a Prompt brings its own target_tokens, contrast, position, raw and answer_prefix; set them there"
        )
    options = TraceOptions(k, tau, top_n, mass, max_nodes, edge_tau, rules, centre_logits, tuple(map(str, exclude)))
    return trace_prompt(model, prompt, options=options, direction=direction)


def trace_prompt(
    model: TraceableModel, prompt: Prompt, *, options: TraceOptions, direction: NDArray[np.float32] | None = None
) -> TracedGraph:
    """The graph of one prompt. Raises `BadInput` for a prompt that cannot be traced, and as `trace_prompts` does."""
    (result,) = trace_prompts(model, [prompt], options=options, direction=direction)
    if isinstance(result, Quarantined):
        if result.reason.startswith(UNEXPECTED):
            raise PermanentError(
                f"the prompt {prompt.text[:60]!r} cannot be traced: {result.reason}; the log has the traceback"
            )
        raise BadInput(f"the prompt {prompt.text[:60]!r} cannot be traced: {result.reason}")
    return result


def trace_prompts(
    model: TraceableModel,
    prompts: Sequence[Prompt],
    *,
    options: TraceOptions,
    progress: Callable[[int, int], None] | None = None,
    direction: NDArray[np.float32] | None = None,
) -> Iterator[TracedGraph | Quarantined]:
    """Trace prompts in order, one result each.

    A prompt that cannot be traced comes back quarantined with its reason, whatever went wrong. The same list gives the same
    bytes on the same CPU and thread count in float32; grouping depends on the list alone. `progress(done, total)` is called
    after every group. Raises `BadInput` or `UnknownName` for options that make no sense.
    """
    import torch

    from neuron_atlas.core.attribution.attribute import TraceParameters

    check_selection(options)
    over_vocabulary = None if direction is None else torch.as_tensor(np.asarray(direction, dtype=np.float32))
    parameters = TraceParameters(options, rule_set(options.rules), HardwareProfile.of(model.device), over_vocabulary)
    done = 0
    for group in _groups(model, prompts):
        yield from _trace_group(model, group, parameters, left=TRIES)
        done += len(group)
        if progress is not None:
            progress(done, len(prompts))


def _groups(model: TraceableModel, prompts: Sequence[Prompt]) -> Iterator[list[Encoded | Quarantined]]:
    """Encode prompts and cut them, in order, into groups that are traced together."""
    group: list[Encoded | Quarantined] = []
    longest = 0
    for prompt in prompts:
        encoded = _encode(model, prompt)
        length = len(encoded.token_ids) if not isinstance(encoded, Quarantined) else 0
        longest = max(longest, length)
        if group and (len(group) == GROUP_PROMPTS or longest * (len(group) + 1) > GROUP_TOKENS):
            yield group
            group, longest = [], length
        group.append(encoded)
    if group:
        yield group


def _encode(model: TraceableModel, prompt: Prompt) -> Encoded | Quarantined:
    from neuron_atlas.core.attribution.attribute import Encoded

    try:
        ids = tuple(model.encode(prompt))
    except BadInput as error:
        return Quarantined(prompt, str(error))
    except Exception as error:  # noqa: BLE001 - one prompt never stops its set; the log has the traceback
        return _unexpected(prompt, error)
    if not -len(ids) <= prompt.position < len(ids):
        return Quarantined(prompt, f"position {prompt.position} is outside the prompt's {len(ids)} tokens")
    return Encoded(prompt, ids, prompt.position % len(ids) + 1)


def _trace_group(
    model: TraceableModel, group: Sequence[Encoded | Quarantined], parameters: TraceParameters, *, left: int
) -> list[TracedGraph | Quarantined]:
    """The results of a group, in order; in smaller groups where memory runs out, with `left` tries."""
    from neuron_atlas.core.attribution.graph.build_graphs import build_graphs

    encoded = [item for item in group if not isinstance(item, Quarantined)]
    try:
        built = iter(build_graphs(model, encoded, parameters)) if encoded else iter(())
        return [item if isinstance(item, Quarantined) else next(built) for item in group]
    except UserError:
        raise  # an option that makes no sense, for whichever prompt
    except Exception as error:  # noqa: BLE001 - one prompt never stops its set; the log has the traceback
        if not is_out_of_memory(error):
            return _trace_apart(model, group, parameters, error)
    _release_memory()
    left -= 1
    if left == 0:
        reason = f"memory ran out {TRIES} times, last with {len(encoded)} prompts at once"
        return [item if isinstance(item, Quarantined) else Quarantined(item.prompt, reason) for item in group]
    cells = max(1, parameters.hardware.cells // 2)
    hardware = replace(parameters.hardware, cells=cells, stored_bytes=parameters.hardware.stored_bytes // 2)
    half = (len(group) + 1) // 2
    note = f"memory ran out; traced again with at most {half} prompts and {cells} cells at once"
    smaller = replace(parameters, hardware=hardware, note=note)
    parts = [group[:half], group[half:]]
    return [result for part in parts if part for result in _trace_group(model, part, smaller, left=left)]


def _trace_apart(
    model: TraceableModel, group: Sequence[Encoded | Quarantined], parameters: TraceParameters, error: Exception
) -> list[TracedGraph | Quarantined]:
    """Each prompt of a group that failed by itself, so that the one at fault is quarantined alone."""
    encoded = [item for item in group if not isinstance(item, Quarantined)]
    if len(encoded) == 1:
        return [item if isinstance(item, Quarantined) else _unexpected(item.prompt, error) for item in group]
    return [result for item in group for result in _trace_group(model, [item], parameters, left=TRIES)]


def _unexpected(prompt: Prompt, error: Exception) -> Quarantined:
    """A prompt set aside for an error that nobody foresaw."""
    logging.getLogger(__name__).error("prompt %s was quarantined", prompt.prompt_id, exc_info=error)
    first_line = str(error).strip().partition("\n")[0][:200]
    return Quarantined(prompt, f"{UNEXPECTED}{type(error).__name__}: {first_line}")


UNEXPECTED = "an unexpected error: "
"""How the reason of a prompt begins that failed in a way nobody foresaw."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that CPU or GPU memory ran out."""
    import torch

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    signs = ("can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED")
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in signs)


def _release_memory() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
