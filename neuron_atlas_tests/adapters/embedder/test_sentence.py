"""The numpy encoder against the reference implementation, and what it promises of its vectors."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from neuron_atlas.adapters.embedder import SentenceEmbedder, find_weights, load_embedder
from neuron_atlas.adapters.embedder.bert import gelu
from neuron_atlas.errors import BadInput, Incomplete, UnknownName, UnsupportedModel

FETCHED = Path(__file__).parents[3] / ".neuron_atlas" / "embedder"
"""Where `make atlas` puts the weights."""
TEXTS = ["capital city names", "city", "Plural VERBS of a country", "unheard-of words", "", "city"]


def reference(folder: Path, texts: list[str]) -> NDArray[np.float32]:
    """Mean of the last hidden states, normalised, by transformers and torch, one text at a time."""
    import torch
    from tokenizers import Tokenizer
    from transformers import BertModel

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(40)
    model = BertModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        hidden = [model(torch.tensor([tokenizer.encode(t).ids])).last_hidden_state[0].mean(0) for t in texts]
    return torch.nn.functional.normalize(torch.stack(hidden), dim=1).numpy()


@pytest.fixture(scope="module")
def tiny(tiny_bert: Path) -> SentenceEmbedder:
    return load_embedder(str(tiny_bert))


def test_vectors_are_those_of_the_reference_implementation(tiny: SentenceEmbedder, tiny_bert: Path) -> None:
    texts = [*TEXTS, " ".join(["capital"] * 100)]  # the last is cut
    np.testing.assert_allclose(tiny.embed(texts), reference(tiny_bert, texts), atol=2e-6)


def test_vectors_have_length_one_and_equal_texts_equal_vectors(tiny: SentenceEmbedder) -> None:
    vectors = tiny.embed(TEXTS)
    assert vectors.shape == (len(TEXTS), tiny.dimension) == (6, 24)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert (vectors[1] == vectors[5]).all()


def test_a_text_does_not_depend_on_its_neighbours_or_their_order(tiny: SentenceEmbedder) -> None:
    together = tiny.embed(TEXTS)
    np.testing.assert_allclose(tiny.embed(TEXTS[::-1])[::-1], together, atol=1e-6)
    np.testing.assert_allclose(np.concatenate([tiny.embed([text]) for text in TEXTS]), together, atol=1e-6)


def test_no_texts_give_no_vectors(tiny: SentenceEmbedder) -> None:
    assert tiny.embed([]).shape == (0, 24)


def test_gelu_is_exact_to_single_precision() -> None:
    x = np.linspace(-12, 12, 10_001, dtype=np.float32)
    exact = [v * 0.5 * (1 + math.erf(v / math.sqrt(2))) for v in x.astype(float)]
    np.testing.assert_allclose(gelu(x), exact, atol=1e-6)


def test_the_id_names_the_weights(tiny_bert: Path, tmp_path: Path) -> None:
    import re

    assert re.fullmatch(r"tiny@[0-9a-f]{12}", load_embedder(str(tiny_bert)).embedder_id)


def copy_with(source: Path, target: Path, file: str, **changes: object) -> Path:
    """A copy of a model whose JSON file says something else."""
    shutil.copytree(source, target)
    (target / file).write_text(json.dumps({**json.loads((source / file).read_text()), **changes}))
    return target


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("config.json", {"model_type": "roberta"}),
        ("config.json", {"hidden_act": "relu"}),
        ("config.json", {"position_embedding_type": "relative_key"}),
        ("1_Pooling/config.json", {"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True}),
    ],
)
def test_other_kinds_of_model_are_refused(
    tiny_bert: Path, tmp_path: Path, file: str, changes: dict[str, object]
) -> None:
    with pytest.raises(UnsupportedModel, match="expected a BERT sentence model with mean pooling"):
        load_embedder(str(copy_with(tiny_bert, tmp_path / "other", file, **changes)))


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"does not hold an embedder; expected config\.json"):
        load_embedder(str(tmp_path))


def test_an_unknown_name_is_neither_looked_for_nor_fetched() -> None:
    with pytest.raises(UnknownName, match="known: all-MiniLM-L6-v2"):
        load_embedder("all-MiniLM-L12")


def test_the_published_embedder_knows_that_towns_are_cities() -> None:
    try:
        folder = find_weights(folder=FETCHED)
    except Incomplete:
        pytest.skip("the published weights are not on this machine")
    embedder = load_embedder(folder=folder)
    assert (embedder.embedder_id, embedder.dimension) == ("all-MiniLM-L6-v2@53aa51172d14", 384)
    city, town, verb = embedder.embed(["names of cities", "towns", "plural verbs"])
    assert city @ town > 0.5 > 0.2 > city @ verb
