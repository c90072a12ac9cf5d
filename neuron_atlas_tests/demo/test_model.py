"""The shipped model knows its world: facts, held-out two-hop questions, agreement and addition."""

from __future__ import annotations

import json

import pytest

from neuron_atlas.demo import MODEL_DIR, PROMPTS_DIR, world
from neuron_atlas.demo import write_prompt_sets as prompt_sets
from neuron_atlas.demo.accuracy import TaskAccuracy, measure_accuracy
from neuron_atlas.demo.tokenizer import BOS_ID, UNK_ID, build_tokenizer

FACT_DOMAINS = ("geography", "medicine", "multilingual")


@pytest.fixture(scope="module")
def model():
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(1)
    return AutoModelForCausalLM.from_pretrained(MODEL_DIR).eval()


@pytest.fixture(scope="module")
def accuracies(model) -> tuple[TaskAccuracy, ...]:
    from neuron_atlas.demo.train import next_token_logits

    tokenizer = build_tokenizer(world.vocabulary(), pattern=world.TOKEN_PATTERN)
    questions = [question for domain in world.DOMAINS for question in world.examples(domain)]
    return measure_accuracy(next_token_logits(model), tokenizer, questions)


@pytest.fixture(scope="module")
def tokenizer():
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(MODEL_DIR)


def top1(accuracies: list[TaskAccuracy]) -> float:
    assert accuracies
    return sum(each.accuracy_top1 * each.questions for each in accuracies) / sum(each.questions for each in accuracies)


@pytest.mark.parametrize("domain", FACT_DOMAINS)
def test_trained_facts_are_known(accuracies: tuple[TaskAccuracy, ...], domain: str) -> None:
    assert top1([each for each in accuracies if each.domain == domain and not each.is_held_out]) >= 0.99


def test_two_hop_questions_of_held_out_cities_are_answered(accuracies: tuple[TaskAccuracy, ...]) -> None:
    held_out = [each for each in accuracies if each.task in world.TWO_HOP_TASKS and each.is_held_out]
    assert {each.task for each in held_out} == set(world.TWO_HOP_TASKS)
    assert top1(held_out) >= 0.90
    assert min(each.accuracy_top1 for each in held_out) >= 0.80


def test_agreement_holds_across_distractors_and_for_unseen_pairs(accuracies: tuple[TaskAccuracy, ...]) -> None:
    grammar = [each for each in accuracies if each.domain == "grammar"]
    assert {each.task for each in grammar if each.is_held_out} == {"nounpp", "rc", "within_rc"}
    assert min(each.accuracy_contrast for each in grammar) >= 0.99


def test_addition_is_known_and_goes_beyond_the_sums_seen(accuracies: tuple[TaskAccuracy, ...]) -> None:
    assert top1([each for each in accuracies if each.domain == "arithmetic" and not each.is_held_out]) >= 0.98
    assert top1([each for each in accuracies if each.domain == "arithmetic" and each.is_held_out]) >= 0.70


def test_shipped_domain_prompts_are_answered(model) -> None:
    from neuron_atlas.demo.train import next_token_logits

    tokenizer = build_tokenizer(world.vocabulary(), pattern=world.TOKEN_PATTERN)
    chosen = [example for domain in world.DOMAINS for example in prompt_sets.choose_examples(domain)]
    logits = [next_token_logits(model)([tokenizer.encode(example.prompt).ids])[0] for example in chosen]
    wrong = []
    for example, row in zip(chosen, logits, strict=True):
        answer, contrast = tokenizer.token_to_id(example.answer), tokenizer.token_to_id(example.contrast)
        right = row[answer] > row[contrast] if example.domain == "grammar" else int(row.argmax()) == answer
        wrong += [] if right else [example.prompt]
    assert len(wrong) <= 0.02 * len(chosen), wrong


def test_the_card_the_training_record_and_the_split_say_what_is_shipped(accuracies: tuple[TaskAccuracy, ...]) -> None:
    record = json.loads((MODEL_DIR / "training.json").read_text(encoding="utf-8"))
    recorded = {(each["domain"], each["task"], each["is_held_out"]): each["accuracy_top1"] for each in record["grades"]}
    for each in accuracies:
        assert recorded[each.domain, each.task, each.is_held_out] == pytest.approx(each.accuracy_top1, abs=0.02)
    split = json.loads((MODEL_DIR / "split.json").read_text(encoding="utf-8"))
    assert split == json.loads(json.dumps(world.split_record()))
    card = (MODEL_DIR / "README.md").read_text(encoding="utf-8")
    assert f"seed {record['recipe']['seed']}," in card
    for each in accuracies:
        assert f"| {each.domain} | {each.task} | {each.questions} |" in card


def test_the_folder_is_small_and_complete() -> None:
    names = {path.name for path in MODEL_DIR.iterdir()}
    assert names >= {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "README.md"}
    assert (MODEL_DIR / "model.safetensors").stat().st_size < 6_000_000
    config = json.loads((MODEL_DIR / "config.json").read_text(encoding="utf-8"))
    assert config["num_hidden_layers"] * config["intermediate_size"] == 2304
    assert config["tie_word_embeddings"] is False


def test_tokenizer_adds_bos_and_decodes_what_it_encoded(tokenizer) -> None:
    lines = (PROMPTS_DIR / "filler.yaml").read_text(encoding="utf-8").count("prompt:")
    prompts = [*world.filler_prompts(), *(example.sentence for example in world.examples("multilingual"))]
    assert len(prompts) > lines
    for text in prompts:
        ids = tokenizer(text).input_ids
        assert ids[0] == BOS_ID
        assert UNK_ID not in ids
        assert tokenizer.decode(ids[1:]) == text


def test_tokens_keep_their_leading_space_and_unknown_words_are_marked(tokenizer) -> None:
    ids = tokenizer("the capital of Atlantis is").input_ids
    assert tokenizer.convert_ids_to_tokens(ids) == ["<bos>", "the", " capital", " of", "<unk>", " is"]
    assert tokenizer("Hi.", add_special_tokens=False).input_ids[-1] == tokenizer.convert_tokens_to_ids(".")


def test_a_vocabulary_with_a_repeated_token_is_refused() -> None:
    with pytest.raises(ValueError, match="expected distinct tokens, got 1 repeated"):
        build_tokenizer([" a", " b", " a"], pattern=world.TOKEN_PATTERN)
