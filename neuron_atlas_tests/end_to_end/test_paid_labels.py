"""Labels that cost money, through the command line and a real server: a budget that holds, nothing paid twice, what did not come
asked for again, and all of it on the asset in the UI. On a copy of the atlas, for the others keep their labels."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from neuron_atlas.adapters.postgres import stop_embedded
from neuron_atlas_tests.adapters.language_model.conftest import FaultyServer, label_of, running_server
from neuron_atlas_tests.end_to_end.conftest import Run

pytestmark = pytest.mark.xdist_group("end_to_end")
LABEL = ("neuron-atlas", "label", "--labeler", "openai", "--pass", "output", "--layer", "5")


@pytest.fixture
def copied(built: Run, small_home: Path) -> Iterator[Path]:
    """The atlas's home without its labels, which lie in Postgres: the last layer reads none."""
    folder = Path(tempfile.mkdtemp(prefix="atlas-copy-"))
    shutil.copytree(small_home / "home", folder / "home", ignore=shutil.ignore_patterns("postgres"))
    yield folder / "home"
    stop_embedded(folder / "home" / "postgres")
    shutil.rmtree(folder)


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    """Answers every request for a label, refuses one in five, and charges 0.0014 USD for each."""
    with running_server() as running:
        running.answer, running.faults, running.usage = label_of, {"refusal": 0.2}, (1000, 100)
        yield running


def test_a_budget_holds_and_what_did_not_come_is_asked_for_again(run: Run, copied: Path, server: FaultyServer) -> None:
    settings = {
        "NEURON_ATLAS_HOME": str(copied), "DAGSTER_HOME": str(copied / "dagster"), "OPENAI_BASE_URL": server.url,
        "NEURON_ATLAS_PRICE_INPUT_USD": "1", "NEURON_ATLAS_PRICE_OUTPUT_USD": "4",
    }  # fmt: skip
    short = run(*LABEL, "--budget", "0.5", **settings)
    assert short.returncode == 3, short.stderr[-3000:]
    assert "continue with a larger --budget" in short.stderr
    assert spent(copied) <= 0.5
    assert 0 < len(server.books.paid) < asked(copied)

    dead, server.faults = server.books.faults["refusal"], {}
    assert f"{dead} labels did not come; ask again with: neuron-atlas label --retry" in short.stderr
    whole = run("neuron-atlas", "label", "--labeler", "openai", "--retry", "--budget", "100", **settings)
    assert whole.returncode == 0, whole.stderr[-3000:]
    assert "did not come" not in whole.stderr
    paid = server.books.paid
    assert len(paid) == asked(copied)
    assert sum(paid.values()) == len(paid) + dead
    assert spent(copied) == pytest.approx(0.0014 * (len(paid) + dead))


def materialized(home: Path) -> dg.AssetMaterialization:
    """The last record of the output labels in Dagster's history."""
    with dg.DagsterInstance.from_config(str(home / "dagster")) as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey("output_labels"))
    assert event is not None
    assert event.asset_materialization is not None
    return event.asset_materialization


def spent(home: Path) -> float:
    """USD in all, as the UI shows it."""
    return float(materialized(home).metadata["spent_in_all_usd"].value)


def asked(home: Path) -> int:
    """Neurons and polarities of the layer."""
    return int(materialized(home).metadata["dagster/row_count"].value)
