"""What a graph explains."""

from dataclasses import dataclass, replace

import pytest
import torch
from torch.testing import assert_close

from neuron_atlas.core.attribution.linearisation.goal import Goal, choose_goal, linearise_goal
from neuron_atlas.core.attribution.linearisation.replay import replay
from neuron_atlas.core.records import Prompt
from neuron_atlas.errors import BadInput

LOGITS = torch.tensor([0.0, 3.0, 1.0, 2.0, -1.0, 5.0, 4.0])


@dataclass(frozen=True)
class Words:
    """A vocabulary as a list; an answer that is no token is traced by its first letter's."""

    tokens: tuple[str, ...] = ("a", " a", "b", " b", "c", " cat", " d")

    def token_text(self, token_id: int) -> str:
        return self.tokens[token_id]

    def token_candidates(self, text: str) -> list[tuple[int, bool]]:
        whole = [(i, True) for i, token in enumerate(self.tokens) if token in (text, f" {text}")]
        first = [(i, False) for i, token in enumerate(self.tokens) if token.strip()[:1] == text.strip()[:1]]
        if not whole and not first:
            raise BadInput(f"{text!r} is unknown")
        return whole or first


def goal(prompt: Prompt, k: int = 2) -> Goal:
    return choose_goal(Words(), prompt, LOGITS, k=k)


def test_without_answers_the_goal_is_the_largest_logits() -> None:
    found = goal(Prompt("x"))
    assert (found.kind, found.token_ids, found.weights) == ("top_k", (5, 6), (1.0, 1.0))
    assert len(goal(Prompt("x"), k=100).token_ids) == 7


def test_named_answers_are_summed_and_the_likelier_spelling_is_meant() -> None:
    found = goal(Prompt("x", target_tokens=("a", "b")))
    assert (found.kind, found.token_ids) == ("tokens", (1, 3))
    assert found.tokens == (" a", " b")
    assert found.notes == ()


def test_an_answer_of_several_tokens_is_traced_by_its_first_and_says_so() -> None:
    found = goal(Prompt("x", target_tokens=("dog",)))
    assert found.token_ids == (6,)
    assert found.notes == ("answer 'dog' is several tokens; traced by its first, ' d'",)


def test_answers_that_begin_alike_are_traced_once() -> None:
    found = goal(Prompt("x", target_tokens=("dog", "dove")))
    assert found.token_ids == (6,)
    assert "traced once" in found.notes[-1]


def test_a_contrast_is_a_difference_and_needs_two_sides() -> None:
    found = goal(Prompt("x", contrast=("cat", "b")))
    assert (found.kind, found.token_ids, found.weights) == ("contrast", (5, 3), (1.0, -1.0))
    with pytest.raises(BadInput, match="both sides of the contrast"):
        goal(Prompt("x", contrast=("dog", "dove")))


def test_an_unknown_answer_is_refused() -> None:
    with pytest.raises(BadInput, match="'zebra' is unknown"):
        goal(Prompt("x", target_tokens=("zebra",)))


def test_a_direction_needs_a_number_per_token() -> None:
    direction = torch.arange(7.0)
    found = choose_goal(Words(), Prompt("x"), LOGITS, k=2, direction=direction)
    assert (found.kind, found.token_ids) == ("direction", (-1,))
    with pytest.raises(BadInput, match="one number per token"):
        choose_goal(Words(), Prompt("x"), LOGITS, k=2, direction=torch.ones(3))


@pytest.mark.parametrize("centre", [False, True])
@pytest.mark.parametrize("cap", [None, 0.3])
def test_vectors_and_constants_read_the_values_off_the_final_stream(world, centre: bool, cap: float | None) -> None:
    bias = torch.linspace(-1, 1, 7)
    raw = world.frozen.logits + bias
    logits = raw if cap is None else cap * torch.tanh(raw / cap)
    frozen = replace(world.frozen, logits=logits, logit_ratio=None if cap is None else logits / raw)
    model = replace(world.model, unembedding_bias=bias)
    final = replay(world.model, world.frozen).final.sum(0)[-1]
    shift = logits.mean() if centre else 0.0
    direction = torch.arange(7.0)
    for found, expected in (
        (Goal("contrast", (2, 4), ("", ""), (1.0, -1.0)), logits[[2, 4]] - shift),
        (Goal("direction", (-1,), ("",), (1.0,), direction=direction), (direction @ (logits - shift))[None]),
    ):
        traced = linearise_goal(model, frozen, found, centre=centre)
        assert_close(traced.values, expected)
        assert_close(traced.vectors @ final + traced.constants, expected, rtol=1e-4, atol=1e-5)
        assert traced.goal_value == pytest.approx(float(torch.tensor(found.weights) @ expected), abs=1e-5)
        assert_close(traced.goal_vector, torch.tensor(found.weights) @ traced.vectors)
