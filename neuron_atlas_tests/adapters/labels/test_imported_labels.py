"""Labels by people and from files: read, kept, never overwritten."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from neuron_atlas.adapters.labels.label_files import read_labels
from neuron_atlas.adapters.labels.label_store import ImportResult, LabelStore
from neuron_atlas.core.labeling.evidence.labeler_answer import Label
from neuron_atlas.core.labeling.labelers.imported import ImportedLabel
from neuron_atlas.core.records import ModelSpec, NeuronId
from neuron_atlas.core.tables import OUTPUT_LABELS
from neuron_atlas.errors import BadInput

MODEL = ModelSpec("tiny", "rev-1", "llama", 32, 14336, 8, 10, "float32")
CITY = Label(label="names of cities", description="Fires on cities.", type="unknown", confidence=0.5, tokens=("Oslo",))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LabelStore]:
    opened = LabelStore(tmp_path / "labels.sqlite")
    yield opened
    opened.close()


def imported(n: int, text: str = "names of rivers") -> ImportedLabel:
    return ImportedLabel(NeuronId(3, n), 1, "output", text, "neuronpedia", "gpt")


def test_a_persons_label_is_a_row_of_the_table_and_beside_an_import(store: LabelStore) -> None:
    store.put(NeuronId(3, 7), -1, "output", CITY, model_revision="rev-1")
    store.add([imported(7), replace(imported(7), polarity=-1)], model=MODEL)
    rows = OUTPUT_LABELS.checked(store.rows("output", 3, model_revision="rev-1"))
    assert rows.select("neuron", "polarity", "labeler", "version", "label").rows() == [
        (7, -1, "human", "person", "names of cities"),
        (7, -1, "import", "neuronpedia gpt", "names of rivers"),
        (7, 1, "import", "neuronpedia gpt", "names of rivers"),
    ]
    assert rows["tokens"][0].to_list() == ["Oslo"]
    assert store.rows("input", 3, model_revision="rev-1").is_empty()


def test_the_newest_word_counts_and_the_older_one_is_still_there(store: LabelStore) -> None:
    for text in ("first wording of it", "second wording of it"):
        store.put(NeuronId(3, 7), 1, "output", CITY.model_copy(update={"label": text}), model_revision="rev-1")
    assert store.rows("output", 3, model_revision="rev-1")["label"].to_list() == ["second wording of it"]
    assert store._db.execute("SELECT count(*) FROM labels").fetchone() == (2,)


def test_labels_wait_for_their_model(store: LabelStore) -> None:
    store.put(NeuronId(3, 7), 1, "output", CITY, model_revision="rev-1")
    assert store.rows("output", 3, model_revision="rev-2").is_empty()
    assert store.fingerprint(3, model_revision="rev-2") == ""
    assert store.counts(model_revision="rev-1") == {("output", "human"): 1}


def test_the_fingerprint_changes_with_the_rows_alone(store: LabelStore) -> None:
    store.add([imported(1)], model=MODEL)
    before = store.fingerprint(3, model_revision="rev-1")
    store.add([imported(1)], model=MODEL)
    store.add([replace(imported(1), neuron=NeuronId(4, 1))], model=MODEL)
    assert store.fingerprint(3, model_revision="rev-1") == before != ""
    store.add([imported(1, "names of lakes")], model=MODEL)
    assert store.fingerprint(3, model_revision="rev-1") != before


def test_the_same_import_again_changes_nothing_and_an_interrupted_one_goes_on(store: LabelStore) -> None:
    labels = [imported(n) for n in range(5000)]

    def breaks_off() -> Iterator[ImportedLabel]:
        yield from labels[:4500]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.add(breaks_off(), model=MODEL)
    assert store.add(labels, model=MODEL) == ImportResult(added=1000, unchanged=4000)
    assert store.add(labels, model=MODEL) == ImportResult(added=0, unchanged=5000)


def test_what_names_no_neuron_or_may_not_stand_is_refused_and_the_rest_taken(store: LabelStore) -> None:
    bad = [replace(imported(0), neuron=NeuronId(32, 0)), imported(1, "see https://evil.example"), imported(2)]
    done = store.add(bad, model=MODEL)
    assert (done.added, done.refused) == (1, 2)
    assert "L32/N0 is no neuron of tiny, which has 32 layers of 14336 neurons" in done.reasons[0]


ROWS: dict[str, tuple[list[object], list[tuple[str, str, str, str]]]] = {
    "neuronpedia": (
        [
            {"modelId": "m", "layer": "7-mlp", "index": "12", "description": "days of the week", "typeName": "acts",
             "explanationModelName": "gpt-4o", "embedding": [0.1], "authorId": "x"},
            {"modelId": "m", "layer": "7-mlp", "index": "-1", "description": "no such neuron"},
        ],
        [("L7/N12", "input", "days of the week", "gpt-4o acts")],
    ),
    "goodfire": (
        [
            {"feature_id": 25612, "labels": [{"label": "weekdays", "metadata": {"parsed_response": {"description": "Days."}}}],
             "feature_metadata": {"layer": 1, "neuron": 12, "num_exemplars": 5}},
            {"feature_id": 3, "labels": [], "feature_metadata": {"layer": 0, "neuron": 3}},
        ],
        [("L1/N12", "input", "weekdays", "")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", list(ROWS))
@pytest.mark.parametrize("opener", [open, gzip.open], ids=["plain", "gzip"])
def test_lines_are_read_packed_or_not_and_their_kind_is_found(
    tmp_path: Path, kind: str, opener: Callable[..., object]
) -> None:
    rows, expected = ROWS[kind]
    path, refused = tmp_path / "labels.jsonl", list[str]()
    with opener(path, "wb") as stream:
        stream.write(b"\n".join([*(json.dumps(row).encode() for row in rows), b"", b"{ not json"]))
    found, labels = read_labels(path, refused=refused.append)
    read = [(str(one.neuron), one.side, one.text, one.author) for one in labels]
    assert (found, read) == (kind, expected)
    assert refused[-1].startswith("line 4:")


def test_a_label_database_gives_both_sides(tmp_path: Path) -> None:
    entry = {
        "neuron_id": "L31/N8359", "layer": 31, "neuron_idx": 8359, "function_label": "renal terms router",
        "function_description": "Drives renal terms.", "function_type": "routing", "interpretability": "high",
        "input_label": "kidney words", "input_description": "After kidney words.", "input_type": "context",
        "confidence": "llm-auto", "upstream_neurons": [], "appearance_count": 428,
    }  # fmt: skip
    path, refused = tmp_path / "labels.json", list[str]()
    path.write_text(json.dumps({"neurons": {"L31/N8359": entry, "31_8": entry}, "metadata": {}}, indent=1))
    kind, labels = read_labels(path, refused=refused.append)
    made = [(one.side, one.text, one.description, one.type, one.confidence) for one in labels]
    assert kind == "labels-json"
    assert made == [
        ("output", "renal terms router", "Drives renal terms.", "routing", None),
        ("input", "kidney words", "After kidney words.", "context", None),
    ]
    assert refused == ["31_8: '31_8' is not a neuron; expected the form L18/N6721 (layer 18, neuron 6721)"]


@pytest.mark.parametrize("text", ["", "hello", "[1, 2]", '{"other": 1}', "{"])
def test_an_unknown_file_is_refused_with_what_is_known(tmp_path: Path, text: str) -> None:
    path = tmp_path / "file"
    path.write_text(text)
    with pytest.raises(BadInput, match="neurons"):
        list(read_labels(path, refused=lambda line: None)[1])


def test_a_file_that_breaks_off_says_where(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl.gz"
    line = json.dumps({"layer": "1", "index": 2, "description": "words of a kind"}).encode()
    whole = gzip.compress(b"\n".join(line.replace(b"2", str(n).encode()) for n in range(5000)))
    path.write_bytes(whole[: len(whole) // 2])
    _, labels = read_labels(path, refused=lambda line: None)
    with pytest.raises(BadInput, match=r"is damaged or incomplete at line \d+"):
        list(labels)
