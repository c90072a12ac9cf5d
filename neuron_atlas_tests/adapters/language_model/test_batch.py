"""However a batch ends, what is there is taken and only what is missing is sent again."""

from __future__ import annotations

import json
import re
from pathlib import Path

import polars as pl
import pytest

from neuron_atlas.adapters.language_model import Ledger, OpenAIBatchModel, OpenAIModel, Prices, Server
from neuron_atlas.core.labeling.label_layer import label_layer
from neuron_atlas.core.labeling.labelers.language_model import LanguageModelLabeler
from neuron_atlas.core.llm_requests import NoReply, Reply
from neuron_atlas.errors import BadInput, Incomplete
from neuron_atlas_tests.adapters.language_model.conftest import QUICK, FaultyServer, asks, label_of, neuron_of
from neuron_atlas_tests.core.labeling.conftest import small_world


def batched(at: Server, ledger: Ledger, **more: object) -> OpenAIBatchModel:
    return OpenAIBatchModel(at, ledger, retry_policy=QUICK, pause=lambda seconds: None, **more)


def sent(server: FaultyServer) -> list[list[int]]:
    """The numbers asked for, batch by batch."""
    files = [server.files[batch["input_file_id"]] for _, batch in sorted(server.batches.items())]
    return [[int(json.loads(x)["body"]["messages"][1]["content"].split()[1]) for x in f.splitlines()] for f in files]


def numbers(outcomes: list[Reply | NoReply]) -> list[int]:
    return [json.loads(o.text)["n"] for o in outcomes if isinstance(o, Reply)]


def test_one_batch_answers_all_in_order(faulty: FaultyServer, at: Server, ledger: Ledger) -> None:
    model = batched(at, ledger, prices=Prices(10.0, 50.0))
    assert numbers(list(model.ask(asks(20)))) == list(range(20))
    assert sent(faulty) == [list(range(20))]
    assert model.spending.cost_usd == pytest.approx(20 * 0.002) == pytest.approx(ledger.spent())
    body = json.loads(faulty.files["file-0"].splitlines()[0])["body"]
    assert body["response_format"]["json_schema"]["strict"] is True


@pytest.mark.parametrize(
    ("end", "again"),
    [
        ("half-expired", [1, 3, 5, 7, 9]),
        ("cancelled", list(range(1, 10))),
        ("no-output", list(range(10))),
        ("failed", list(range(10))),
    ],
)
def test_only_what_is_missing_is_sent_again(
    faulty: FaultyServer, at: Server, ledger: Ledger, end: str, again: list[int]
) -> None:
    faulty.ends = [end]
    assert numbers(list(batched(at, ledger).ask(asks(10)))) == list(range(10))
    assert sent(faulty) == [list(range(10)), again]
    assert max(faulty.books.paid.values()) == 1


def test_single_lines_that_failed_for_a_moment_are_sent_again(faulty: FaultyServer, at: Server, ledger: Ledger) -> None:
    faulty.faults, faulty.seed = {"429": 0.2, "refusal": 0.1}, 5
    outcomes = list(batched(at, ledger).ask(asks(30)))
    refused = [o for o in outcomes if isinstance(o, NoReply)]
    assert {o.why for o in refused} == {"refused"}
    assert len(numbers(outcomes)) + len(refused) == 30
    assert sum(len(part) for part in sent(faulty)[1:]) == faulty.books.faults["429"] > 0


def test_a_batch_that_never_yields_is_given_up(faulty: FaultyServer, at: Server, ledger: Ledger) -> None:
    faulty.ends = ["failed"] * 10
    (outcome,) = batched(at, ledger).ask(asks(1))
    assert outcome == NoReply("failed", "no answer in 4 batches; the last ended as failed queue full")


def test_another_process_collects_what_this_one_sent(faulty: FaultyServer, at: Server, tmp_path: Path) -> None:
    """The first process dies while it waits; the second sends nothing new."""

    def die(seconds: float) -> None:
        raise KeyboardInterrupt

    first = Ledger(tmp_path / "shared.sqlite")
    with pytest.raises(KeyboardInterrupt):
        list(OpenAIBatchModel(at, first, retry_policy=QUICK, pause=die).ask(asks(10)))
    first.close()
    second = batched(at, Ledger(tmp_path / "shared.sqlite"))
    assert numbers(list(second.ask(asks(10)))) == list(range(10))
    assert len(faulty.batches) == 1


def test_a_batch_accepted_but_not_noted_is_found_again(
    faulty: FaultyServer, at: Server, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*noted: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(ledger, "add_batch", die)
        with pytest.raises(KeyboardInterrupt):
            list(batched(at, ledger).ask(asks(10)))
    assert numbers(list(batched(at, ledger).ask(asks(10)))) == list(range(10))
    assert len(faulty.batches) == 1


def test_batch_and_single_requests_share_one_memory(faulty: FaultyServer, at: Server, ledger: Ledger) -> None:
    list(batched(at, ledger).ask(asks(5)))
    live = OpenAIModel(at, ledger, retry_policy=QUICK)
    assert numbers(list(live.ask(asks(6)))) == list(range(6))
    assert live.spending.calls == 1


def test_the_budget_cuts_a_batch(faulty: FaultyServer, at: Server, ledger: Ledger) -> None:
    prices = Prices(0.0, 1.0)
    worst = prices.worst(asks(1)[0])
    outcomes = list(batched(at, ledger, prices=prices, limit_usd=worst * 4.5).ask(asks(10)))
    assert numbers(outcomes) == [0, 1, 2, 3]
    assert {o.why for o in outcomes if isinstance(o, NoReply)} == {"budget"}


def test_a_server_without_batches_says_what_to_set(faulty: FaultyServer, at: Server, ledger: Ledger) -> None:
    faulty.status = (404, "no such path")
    with pytest.raises(BadInput, match="NEURON_ATLAS_LABELER=openai"):
        list(batched(at, ledger).ask(asks(1)))


def test_a_layer_is_sent_when_the_layer_it_reads_is_whole(faulty: FaultyServer, at: Server, ledger: Ledger) -> None:
    """Two layers of 20 neurons, the later one in a batch that expires half way. No request of the earlier layer is sent before,
    and each carries the label of the neuron it acts on."""
    faulty.answer, faulty.ends = label_of, ["half-expired"]
    labeler = LanguageModelLabeler(batched(at, ledger), name="openai-batch")
    evidence = {name: frame.lazy() for name, frame in small_world().items()}
    made: list[pl.DataFrame] = []
    for layer in (1, 0):
        known = {"output_labels": pl.concat(made).lazy()} if made else {}
        frames = label_layer("output", layer, evidence=evidence, labels=known, labeler=labeler, model_revision="r")
        made.append(frames["output_labels"])
        assert made[-1]["label"].null_count() == 0
    files = [faulty.files[batch["input_file_id"]].splitlines() for _, batch in sorted(faulty.batches.items())]
    bodies = [[json.loads(line)["body"] for line in lines] for lines in files]
    assert [(len(batch), {neuron_of(body)[:2] for body in batch}) for batch in bodies] == [
        (20, {"L1"}),
        (10, {"L1"}),
        (20, {"L0"}),
    ]
    for body in bodies[-1]:
        number = neuron_of(body)[4:-1]
        assert re.search(rf"the label of L1/N{number}[+-]", body["messages"][-1]["content"])


def test_a_layer_without_all_its_answers_holds_up_the_next(faulty: FaultyServer, at: Server, ledger: Ledger) -> None:
    """The process ends while the later layer's batch is under way: nothing of the earlier layer can be asked."""

    def leave(seconds: float) -> None:
        raise KeyboardInterrupt

    faulty.answer = label_of
    evidence = {name: frame.lazy() for name, frame in small_world().items()}
    impatient = LanguageModelLabeler(OpenAIBatchModel(at, ledger, retry_policy=QUICK, pause=leave), name="openai-batch")
    with pytest.raises(KeyboardInterrupt):
        label_layer("output", 1, evidence=evidence, labels={}, labeler=impatient, model_revision="r")
    with pytest.raises(Incomplete, match="run output_labels for layer L01 first"):
        label_layer("output", 0, evidence=evidence, labels={}, labeler=impatient, model_revision="r")
    assert len(faulty.batches) == 1
