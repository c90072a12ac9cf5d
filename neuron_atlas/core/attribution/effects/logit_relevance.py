"""The relevance of every neuron at every token to one logit, or to the difference of two: v · d logit / d v under a rule set.

A graph keeps the nodes that matter and the edges between them. Here it is all instances, without edges, for one forward and one
backward pass, also while neurons are held at other values.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from neuron_atlas.core.attribution.linearisation.goal import choose_goal
from neuron_atlas.core.attribution.linearisation.rules import rule_set
from neuron_atlas.core.attribution.traceable_model import EditableModel
from neuron_atlas.core.ports import Array
from neuron_atlas.core.records import Edit, Prompt


def relevance_to_logit(
    model: EditableModel,
    token_ids: Sequence[int],
    *,
    position: int,
    target: str | None = None,
    contrast: str | None = None,
    rules: str = "relp",
    edits: Sequence[Edit] = (),
) -> Array:
    """Relevance [L, T, I] (logits) of every instance to the logit of `target` at a position (from 0), less that of `contrast`.

    Without a target it is the token that follows there, at the end the likeliest. Instances after the position give nothing. Of two
    spellings of a word, with and without a space before it, the one with the larger logit is meant. Raises `BadInput` for a word
    that begins with no token, or a contrast that begins as the target does.
    """
    logits = torch.as_tensor(model.logits(token_ids, edits=[edits], position=position)[0], device=model.device)
    over = torch.zeros_like(logits)
    if target is not None:
        goal = Prompt("", target_tokens=(target,)) if contrast is None else Prompt("", contrast=(target, contrast))
        chosen = choose_goal(model, goal, logits, k=1)
        over[list(chosen.token_ids)] = torch.tensor(chosen.weights, device=over.device)
    else:
        followed = token_ids[position + 1] if position + 1 < len(token_ids) else int(logits.argmax())
        over[followed] = 1.0
        if contrast is not None:
            over[list(choose_goal(model, Prompt("", target_tokens=(contrast,)), logits, k=1).token_ids)] -= 1.0
    read = token_ids[: position + 1]
    here = [edit for edit in edits if edit.position is None or edit.position < len(read)]
    neurons, _ = model.differentiate(read, rule_set(rules), edits=here).relevance(over)
    found = neurons.cpu().numpy()
    return np.pad(found, ((0, 0), (0, len(token_ids) - len(read)), (0, 0)))
