"""How the rules read evidence, one small case each: what they say, and when they would rather say nothing."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from neuron_atlas.core.labeling.evidence.evidence_record import (
    Appearance,
    Association,
    DirectEffect,
    Exemplar,
    InputEvidence,
    Neighbour,
    OutputEvidence,
    PeakPosition,
    SeenLabel,
    SharedTrait,
    TokenList,
    TokenWeight,
)
from neuron_atlas.core.labeling.evidence.labeler_answer import Label, Unlabeled
from neuron_atlas.core.labeling.labelers.rules import RulesLabeler

WORDS = ("Salem", "Boise", "Austin", "oak", "elm", "ash", "run", "sit", "eat", "nap")


def listed(weights: Mapping[str, float], *, trait: SharedTrait | None = None) -> TokenList:
    tokens = tuple(TokenWeight(token_id=hash_of(word), text=word, weight=w) for word, w in weights.items())
    return TokenList(tokens=tokens, shared=(trait,) if trait else ())


def hash_of(word: str) -> int:
    return sum(ord(c) * 31**n for n, c in enumerate(word)) % 10_000


def flat(sign: float = 1.0) -> TokenList:
    """Ten tokens of nearly the same weight: nothing stands out."""
    return listed({word: sign * (1.0 - 0.01 * n) for n, word in enumerate(WORDS)})


CAPITALS = SharedTrait(kind="context", name="capital", token_ids=tuple(map(hash_of, WORDS[:3])), of=3, base=0.01)
STEEP = {word: 1.0 if n < 3 else 0.1 for n, word in enumerate(WORDS)}
LOGIT = DirectEffect(der=0.9, effect_type="logit", n=9)
ROUTING = DirectEffect(der=0.2, effect_type="routing", n=9)


def say(evidence: OutputEvidence | InputEvidence) -> Label | Unlabeled:
    (answer,) = RulesLabeler().label([evidence])
    return answer


def output(**parts: object) -> OutputEvidence:
    return OutputEvidence(layer=1, neuron=2, polarity=1, **parts)


def later(label: str, tokens: Mapping[str, float], *, weight: float = 0.5, direction: int = 1) -> Neighbour:
    seen = SeenLabel(side="output", text=label, tokens=listed(tokens).tokens, direction=direction, ref="L3/N1+@x")
    return Neighbour(name="L3/N1+", weight=weight, flow=1.0, frequency=0.5, labels=(seen,))


def test_tokens_with_a_common_trait_are_named_by_it() -> None:
    answer = say(output(promotes=listed(STEEP, trait=CAPITALS), direct_effect=LOGIT))
    assert isinstance(answer, Label)
    assert (answer.label, answer.type) == ("promotes capital-related words: Salem, Boise", "semantic")
    assert answer.tokens == ("Salem", "Boise", "Austin")
    assert "90% of its effect on answers is direct" in answer.description


def test_tokens_that_stand_out_are_named_one_by_one() -> None:
    answer = say(output(promotes=listed(STEEP)))
    assert isinstance(answer, Label)
    assert (answer.label, answer.type) == ("promotes “Salem”, “Boise” and “Austin”", "lexical")


def test_a_flat_list_is_no_label() -> None:
    answer = say(output(promotes=flat(), suppresses=flat(-1)))
    assert answer == Unlabeled(reason="weak: the tokens it raises share nothing and none stands out (focus 0.09)")


def test_measured_logits_against_the_projection_are_a_contradiction() -> None:
    agreeing = output(promotes=listed(STEEP), logits=listed({"Salem": 0.4}))
    against = output(promotes=listed(STEEP), logits=listed({"Salem": -0.4, "Boise": 0.1}))
    assert isinstance(say(agreeing), Label)
    assert say(against) == Unlabeled(reason="contradictory: measured logits move against the output projection")


def test_the_lowered_end_is_named_when_it_alone_stands_out() -> None:
    down = listed({word: -2 * w for word, w in STEEP.items()}, trait=CAPITALS)
    answer = say(output(promotes=flat(), suppresses=down))
    assert isinstance(answer, Label)
    assert (answer.label, answer.direction) == ("suppresses capital-related words: Salem, Boise", -1)


def test_a_neuron_without_direct_effect_is_named_after_what_it_drives() -> None:
    routed = {"Salem": 1.0, "Boise": 0.9}
    answer = say(output(downstream=(later("promotes capitals here", routed),), routed=listed(routed)))
    assert isinstance(answer, Label)
    assert (answer.label, answer.type) == ("routes to “Salem” and “Boise”", "routing")
    assert "drives L3/N1+ (promotes capitals here)" in answer.description


def test_driving_a_suppressor_gates_its_tokens_off() -> None:
    answer = say(
        output(downstream=(later("suppresses capitals here", STEEP, direction=-1),), routed=listed({"Salem": -1.0}))
    )
    assert isinstance(answer, Label)
    assert (answer.label, answer.direction) == ("gates off “Salem”", -1)


def test_a_routing_reading_must_be_borne_out_by_the_neurons_own_direction() -> None:
    parts = {
        "downstream": (later("promotes capitals here", STEEP),),
        "routed": listed({"Salem": 1.0}),
        "direct_effect": ROUTING,
    }
    with_it = say(output(promotes=flat(), **parts))
    assert isinstance(with_it, Label)
    assert with_it.label == "routes to “Salem”"
    nowhere = listed({f"w{n}": 1.0 - 0.01 * n for n in range(10)})
    assert isinstance(say(output(promotes=nowhere, **parts)), Unlabeled)
    assert isinstance(say(output(promotes=nowhere, suppresses=flat(-1), **parts)), Unlabeled)
    none_direct = {**parts, "direct_effect": DirectEffect(der=0.05, effect_type="routing", n=9)}
    assert isinstance(say(output(promotes=nowhere, **none_direct)), Label)


def test_a_domain_is_named_only_when_its_own_answers_are_moved() -> None:
    special = Appearance(n_prompts=9, frequency=0.1, domain="geography", domain_specificity=0.95, domain_z=4.0)
    answer = say(output(promotes=listed(STEEP), appearance=special, logits=listed({"Salem": 0.4, "Boise": 0.2})))
    other = say(output(promotes=listed(STEEP), appearance=special))
    assert isinstance(answer, Label)
    assert isinstance(other, Label)
    assert (answer.label, answer.type) == ("promotes geography words: Salem, Boise", "associative")
    assert (other.label, other.type) == ("promotes “Salem”, “Boise” and “Austin”", "lexical")
    assert "mostly in geography prompts" in other.description


def test_nothing_to_go_by() -> None:
    assert isinstance(say(output()), Unlabeled)
    assert isinstance(say(InputEvidence(layer=0, neuron=0, polarity=1)), Unlabeled)


@pytest.mark.parametrize("hostile", ["https://evil", "<script>", "a\u202eb", "x" * 30, "\x1b[31m"])
def test_a_token_that_may_not_be_shown_is_not_quoted(hostile: str) -> None:
    answer = say(output(promotes=listed({hostile: 1.0, "Salem": 0.9})))
    assert isinstance(answer, Label)
    assert answer.label == "promotes “Salem”"
    assert hostile not in answer.description
    assert isinstance(say(output(promotes=listed({hostile: 1.0}))), Unlabeled)


def text(words: str, fires: Mapping[str, float]) -> Exemplar:
    tokens = tuple(words.split())
    activations = tuple(fires.get(token, 0.0) for token in tokens)
    peak = max(range(len(tokens)), key=activations.__getitem__)
    return Exemplar(tokens=tokens, token_ids=tuple(map(hash_of, tokens)), activations=activations, peak=peak)


def inputs(**parts: object) -> InputEvidence:
    return InputEvidence(layer=1, neuron=2, polarity=1, **parts)


def test_a_token_that_always_fires_it_is_a_token_pattern() -> None:
    tops = tuple(text(f"the {word} sits", {word: 3.0}) for word in ("cat", "cat", "dog"))
    others = tuple(text(words, {}) for words in ("the sun sits", "the rain sits"))
    answer = say(inputs(exemplars=tops, others=others, firing=listed({"cat": 0.67, "dog": 0.33})))
    assert isinstance(answer, Label)
    assert (answer.label, answer.type) == ("fires on “cat” and “dog”", "token-pattern")


def test_the_share_of_activation_is_what_the_texts_showed() -> None:
    """A token that only graphs show joins the label, and adds nothing to what was measured on texts."""
    tops = tuple(text(f"the {word} sits", {word: 3.0}) for word in ("cat", "cat", "dog", "cow", "cow"))
    others = (text("the dog and the cat sits", {"dog": 2.9, "cat": 3.0}), text("the rain sits", {}))
    cow = Association(token_id=hash_of("cow"), text="cow", n=8, frequency=0.8, lift=9.0)
    firing = listed({"cat": 0.6, "dog": 0.3, "rain": 0.1})
    answer = say(inputs(exemplars=tops, others=others, firing=firing, associations=(cow,)))
    assert isinstance(answer, Label)
    assert "cow" in answer.tokens
    assert "90% of its activation where it fires in the texts seen" in answer.description


def test_a_token_that_needs_a_word_before_it_is_a_combination() -> None:
    tops = tuple(text(f"the capital of {place} is", {"is": 3.0}) for place in ("Oregon", "Texas", "Ohio"))
    others = tuple(text(f"the {thing} there is", {}) for thing in ("cat", "sun", "rain"))
    before = listed({"capital": 1.0, "of": 1.0})
    answer = say(inputs(exemplars=tops, others=others, firing=listed({"is": 1.0}), before=before))
    assert isinstance(answer, Label)
    assert (answer.label, answer.type) == ("fires on “is” after “capital”", "combination")
    assert set(answer.tokens) == {"is", "capital"}


def test_any_token_after_a_word_is_a_context() -> None:
    tops = tuple(
        text(f"the capital {a} {b} {c}", {a: 2.5, b: 3.0, c: 2.8})
        for a, b, c in (("q", "r", "s"), ("t", "u", "v"), ("w", "x", "y"))
    )
    others = tuple(text(f"the {thing} {more} was there", {}) for thing, more in (("r", "q"), ("u", "t"), ("x", "s")))
    firing = listed({token: 0.11 for token in "qrstuvwxy"})
    answer = say(inputs(exemplars=tops, others=others, firing=firing, before=listed({"capital": 1.0})))
    assert isinstance(answer, Label)
    assert (answer.label, answer.type) == ("fires in texts after “capital”", "context")


def test_peaks_in_one_place_on_varying_tokens_are_a_position() -> None:
    tops = tuple(text(f"{word} the {word} the", {}) for word in ("a", "b", "c", "d"))
    others = tuple(text(f"the {word} the {word}", {}) for word in ("a", "b", "c", "d"))
    firing = listed({word: 0.25 for word in "abcd"})
    answer = say(inputs(exemplars=tops, others=others, firing=firing, position=PeakPosition(position=0, share=1.0)))
    assert isinstance(answer, Label)
    assert (answer.label, answer.type, answer.tokens) == ("fires at token position 0", "position", ())


def test_without_exemplars_graphs_then_weights_may_speak() -> None:
    seen = Association(token_id=hash_of("cat"), text="cat", n=8, frequency=0.8, lift=9.0)
    common = Association(token_id=hash_of("the"), text="the", n=8, frequency=0.9, lift=1.1)
    answer = say(inputs(associations=(common, seen)))
    assert isinstance(answer, Label)
    assert answer.label == "fires on “cat”"
    driven = say(inputs(drives=listed(STEEP)))
    assert isinstance(driven, Label)
    assert driven.description.endswith("not seen to fire in a corpus.")
    assert isinstance(say(inputs(drives=flat())), Unlabeled)


def test_upstream_neurons_explain_what_tokens_do_not() -> None:
    seen = SeenLabel(side="input", text="fires on animals here", tokens=listed({"cat": 1.0}).tokens, ref="L0/N1+@x")
    driver = Neighbour(name="L0/N1+", weight=0.8, flow=1.0, frequency=0.9, labels=(seen,))
    answer = say(inputs(upstream=(driver,), gated=listed({"cat": 1.0, "dog": 0.8})))
    assert isinstance(answer, Label)
    assert (answer.label, answer.type) == ("driven by “cat” and “dog”", "upstream-gated")
    inhibitor = driver.model_copy(update={"weight": -0.8})
    assert isinstance(say(inputs(upstream=(inhibitor,), gated=listed({"cat": -1.0}))), Unlabeled)
