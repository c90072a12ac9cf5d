"""What a labeler may answer: the rules for labels, whoever wrote them."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from neuron_atlas.core.labeling.evidence.evidence_record import OutputEvidence, polar_name
from neuron_atlas.core.labeling.evidence.labeler_answer import Label, Unlabeled

GOOD = {"label": "promotes state capitals", "description": "Raises capitals.", "type": "semantic", "confidence": 0.5}


def test_a_good_label_is_taken_as_it_is() -> None:
    label = Label(**GOOD, tokens=("Salem",), token_ids=(7,))
    assert (label.label, label.direction) == ("promotes state capitals", 1)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("label", "capitals"),  # one word
        ("label", "a b c d e f g h i"),  # nine words
        ("label", "x " + "y" * 80),  # too long
        ("label", "see https://evil.example now"),
        ("label", "see www.evil.example now"),
        ("label", "click [here](now) please"),
        ("label", "promotes <script> tags"),
        ("label", "promotes\nstate capitals"),
        ("label", "promotes \u202estate capitals"),
        ("label", " promotes capitals"),
        ("description", "x" * 401),
        ("description", "Raises\x00capitals."),
        ("type", "magic"),
        ("confidence", 1.5),
        ("confidence", float("nan")),
        ("tokens", ("x" * 65,)),
        ("direction", 0),
        ("surprise", 1),
    ],
)
def test_a_label_that_breaks_a_rule_is_refused(field: str, value: object) -> None:
    with pytest.raises(ValidationError):
        Label(**{**GOOD, field: value})


def test_tokens_and_ids_come_in_pairs_or_ids_are_left_out() -> None:
    assert Label(**GOOD, tokens=("a", "b")).token_ids == ()
    with pytest.raises(ValidationError, match="2 tokens but 1 ids"):
        Label(**GOOD, tokens=("a", "b"), token_ids=(1,))


def test_a_reason_is_needed_to_abstain() -> None:
    with pytest.raises(ValidationError):
        Unlabeled(reason="")


def test_the_digest_names_exactly_what_was_shown() -> None:
    one, other = (OutputEvidence(layer=1, neuron=2, polarity=p) for p in (1, -1))
    assert one.digest() == OutputEvidence(layer=1, neuron=2, polarity=1).digest()
    assert one.digest() != other.digest()
    assert (one.name, other.name) == ("L1/N2+", polar_name(1, 2, -1))
