"""From a group of prompts to their graphs: one pass, then each prompt explained and laid out."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from neuron_atlas.core.attribution.explain import Encoded, Request, explain_differentiated, explain_frozen
from neuron_atlas.core.attribution.layout import lay_out
from neuron_atlas.core.attribution.record import first_fault
from neuron_atlas.core.attribution.subject import TraceableModel
from neuron_atlas.core.attribution.targets import Goal, choose_goal
from neuron_atlas.core.records import AttributionGraph, Quarantined
from neuron_atlas.errors import BadInput


def build_graphs(
    model: TraceableModel, group: Sequence[Encoded], request: Request
) -> list[AttributionGraph | Quarantined]:
    """Graphs of a group of prompts, in order; a prompt whose numbers are not finite or whose goal makes no sense comes back
    quarantined."""
    with torch.no_grad():
        recordings = model.record([encoded.token_ids[: encoded.end] for encoded in group])
        results: list[AttributionGraph | Quarantined | None] = [None] * len(group)
        sound: list[int] = []
        goals: list[Goal] = []
        for index, (encoded, recording) in enumerate(zip(group, recordings, strict=True)):
            fault = first_fault(recording)
            if fault is not None:
                results[index] = Quarantined(encoded.prompt, fault)
                continue
            try:
                k = request.options.k
                goals.append(choose_goal(model, encoded.prompt, recording.logits, k=k, direction=request.direction))
                sound.append(index)
            except BadInput as error:
                results[index] = Quarantined(encoded.prompt, str(error))
        kept = [recordings[index] for index in sound]
    explain = explain_frozen if request.rules.is_linear else explain_differentiated
    explained = explain(model, kept, goals, request)
    for index, found in zip(sound, explained, strict=True):
        results[index] = lay_out(model, group[index], found, request)
    return [result for result in results if result is not None]
