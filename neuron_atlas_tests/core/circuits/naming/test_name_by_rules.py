"""Names composed from evidence: every sentence by eye."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuron_atlas.core.circuits.naming.module_evidence import ModuleEvidence, Share
from neuron_atlas.core.circuits.naming.name_by_rules import name_module

EVIDENCE = ModuleEvidence(
    path="3",
    size=12,
    flow=0.0321,
    layer_min=2,
    layer_max=4,
    does=[
        Share("promotes state capitals", 0.6, [" Salem", " Boise", " Austin", " Bend"]),
        Share("promotes verbs", 0.1),
    ],
    fires_on=[Share("fires on city names", 0.5)],
    prompt_sets=[Share("geography", 0.8)],
    tokens=[" red", " Salem", " blue", " green"],
    receives=[Share("1", 0.9)],
    sends=[Share("2", 0.4)],
)


def test_what_most_members_say_names_the_module():
    assert name_module(EVIDENCE).label == "promotes state capitals: Salem, Boise, Austin"


def test_the_description_says_where_what_when_and_with_whom():
    assert name_module(EVIDENCE).description == (
        "12 neurons in layers 2 to 4 with 3.2% of the flow; 60% of what is labeled promotes state capitals; most at home in "
        "geography (80%). Fires on city names (50% of the labeled inputs); hears most from cluster 1 (90%); tells most to "
        "cluster 2 (40%)."
    )


def test_without_agreement_the_prompt_set_names_it():
    found = name_module(replace(EVIDENCE, does=[Share("promotes verbs", 0.2)]))
    assert found.label == "geography circuit: red, Salem, blue"


def test_without_agreement_or_prompt_set_its_tokens_do():
    found = name_module(replace(EVIDENCE, does=[], prompt_sets=[Share("geography", 0.3)]))
    assert found.label == "promotes red, Salem and blue"


def test_a_theme_needs_no_tokens():
    assert (
        name_module(replace(EVIDENCE, does=[Share("promotes state capitals", 0.6)])).label == "promotes state capitals"
    )


def test_without_labels_and_tokens_it_stays_unlabeled_with_a_reason():
    found = name_module(replace(EVIDENCE, does=[], prompt_sets=[], tokens=["  "]))
    assert (found.label, found.description) == (None, None)
    assert found.unlabeled_reason == "no member has a label and none promotes a readable token"


def test_one_layer_is_said_as_one():
    found = name_module(replace(EVIDENCE, layer_max=2, fires_on=[], receives=[], sends=[], prompt_sets=[], does=[]))
    assert found.description == "12 neurons in layer 2 with 3.2% of the flow."


def test_tokens_that_the_theme_names_or_that_repeat_are_not_said_twice():
    found = name_module(replace(EVIDENCE, does=[Share("promotes “Salem”", 1.0, [" Salem", " Boise", "Boise"])]))
    assert found.label == "promotes “Salem”: Boise"


_words = st.lists(st.sampled_from(["one", "two", "three", "four five"]), min_size=1, max_size=10)


@given(theme=_words, tokens=st.lists(st.text(min_size=1, max_size=8), max_size=6), share=st.floats(0, 1))
def test_a_label_never_has_more_than_eight_words(theme, tokens, share):
    found = name_module(replace(EVIDENCE, does=[Share(" ".join(theme), share, tokens)], tokens=tokens))
    if found.label is not None:
        assert 1 <= len(found.label.split()) <= 8
    assert (found.label is None) == (found.unlabeled_reason is not None)


@pytest.mark.parametrize("token", ["\x1b[31m", "http://x.y", "a" * 60, "<b>", "\u202eabc"])
def test_tokens_that_no_label_may_show_are_left_out(token):
    found = name_module(replace(EVIDENCE, does=[], prompt_sets=[], tokens=[token, " Salem"]))
    assert found.label == "promotes Salem"
