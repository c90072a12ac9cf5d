"""Prompts to ids, ids to text, answers to ids."""

import pytest

from neuron_atlas.adapters.subject_model.tokens import TokenReader, load_tokenizer
from neuron_atlas.core.records import Prompt
from neuron_atlas.errors import BadInput

TEMPLATE = "{{ bos_token }}{% for m in messages %} w1 {{ m['content'] }} w2{% endfor %}{% if add_generation_prompt %} w3{% endif %}"
BOS, UNKNOWN = 0, 3
W = {f"w{i}": i + 4 for i in range(40)}


@pytest.fixture(params=[None, TEMPLATE], ids=["plain", "chat"])
def reader(request, tmp_path, write_tokenizer) -> TokenReader:
    write_tokenizer(tmp_path, template=request.param)
    return load_tokenizer(tmp_path, max_positions=12)


@pytest.fixture
def plain(tmp_path, write_tokenizer) -> TokenReader:
    write_tokenizer(tmp_path)
    return load_tokenizer(tmp_path, max_positions=12)


@pytest.fixture
def chat(tmp_path, write_tokenizer) -> TokenReader:
    write_tokenizer(tmp_path, template=TEMPLATE)
    return load_tokenizer(tmp_path, max_positions=12)


def test_raw_text_begins_with_exactly_one_bos(reader: TokenReader) -> None:
    assert reader.encode(Prompt(" w5 w6", raw=True)) == [BOS, W["w5"], W["w6"]]
    assert reader.encode(Prompt("<s> w5 w6", raw=True)) == [BOS, W["w5"], W["w6"]]
    assert reader.encode(Prompt("<s><s> w5", raw=True)) == [BOS, W["w5"]]


def test_a_chat_template_is_used_unless_raw_and_brings_no_second_bos(chat: TokenReader) -> None:
    assert chat.encode(Prompt("w5")) == [BOS, W["w1"], W["w5"], W["w2"], W["w3"]]
    assert chat.encode(Prompt(" w5", raw=True)) == [BOS, W["w5"]]


def test_a_tokenizer_without_template_takes_every_prompt_raw(plain: TokenReader) -> None:
    assert plain.encode(Prompt(" w5")) == [BOS, W["w5"]]


def test_an_answer_prefix_is_appended_with_a_space_where_two_words_meet(plain: TokenReader, chat: TokenReader) -> None:
    assert plain.encode(Prompt(" w5", answer_prefix="w6")) == [BOS, W["w5"], W["w6"]]
    assert plain.encode(Prompt(" w5", answer_prefix=" w6")) == [BOS, W["w5"], W["w6"]]
    assert chat.encode(Prompt("w5", answer_prefix=" w6"))[-2:] == [W["w3"], W["w6"]]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        (" w1" * 12, "13 tokens; the model's context holds 12"),
        ("w" * 1_000_000, "1000000 characters"),
        (" w1 \ud800", "lone surrogate at character 4"),
        (" w1</s> w2", "control token '</s>'"),
    ],
)
def test_a_bad_prompt_is_refused_with_its_reason(plain: TokenReader, text: str, reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        plain.encode(Prompt(text))


def test_control_tokens_are_refused_in_a_chat_turn_and_taken_raw(chat: TokenReader) -> None:
    with pytest.raises(BadInput, match="control token '<s>'; set raw"):
        chat.encode(Prompt("<s> w1"))
    assert chat.encode(Prompt(" w1</s>", raw=True)) == [BOS, W["w1"], 1]


def test_only_bos_is_an_empty_prompt(plain: TokenReader) -> None:
    with pytest.raises(BadInput, match="no token beside the begin-of-text token"):
        plain.encode(Prompt("<s>", raw=True))


def test_token_text_keeps_the_leading_space(plain: TokenReader) -> None:
    assert plain.token_text(W["w7"]) == " w7"
    assert plain.token_text(44) == "w0"  # the same word without one is another token
    assert plain.token_text(BOS) == "<s>"


def test_an_answer_may_be_the_word_with_or_without_its_space(plain: TokenReader) -> None:
    assert plain.token_candidates("w0") == [(44, True), (W["w0"], True)]
    assert plain.token_candidates(" w0") == [(W["w0"], True)]
    assert plain.token_id("w7") == (W["w7"], True)  # without a space it is no token


def test_an_answer_of_several_tokens_is_known_by_its_first(plain: TokenReader) -> None:
    assert plain.token_id(" w7 w8") == (W["w7"], False)


def test_an_answer_outside_the_vocabulary_is_refused(plain: TokenReader) -> None:
    for word in ("zebra", ""):
        with pytest.raises(BadInput, match="no token of the vocabulary"):
            plain.token_id(word)


def test_an_answer_with_a_lone_surrogate_is_refused(plain: TokenReader) -> None:
    with pytest.raises(BadInput, match="not valid Unicode: lone surrogate at character 1"):
        plain.token_id("w\ud800")


def test_an_id_that_the_tokenizer_does_not_have_is_named_by_its_number(plain: TokenReader) -> None:
    assert plain.token_text(100_000) == "<id 100000>"


def test_special_ids_are_those_the_tokenizer_flags(plain: TokenReader) -> None:
    assert plain.special_ids == {0, 1, 2, 3}
    assert plain.unknown_id == UNKNOWN
