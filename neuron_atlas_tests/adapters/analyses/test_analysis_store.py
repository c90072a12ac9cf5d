"""The folder of analyses that the atlas takes its rows from."""

from __future__ import annotations

import pytest

from neuron_atlas.adapters.analyses.analysis_store import AnalysisStore
from neuron_atlas.core.circuits.analysis.analysis_record import Absent, AnalysisRecord, Settings
from neuron_atlas.errors import DamagedData

HOW = Settings(
    view="roles", min_size=2, split_above=40, max_depth=3, splits=(), max_gap=1, max_span=1, random_sets=0,
    compared_answers=0, seed=0,
)  # fmt: skip


def analysis(key: str, *, revision: str = "r", saving: float = 0.5) -> AnalysisRecord:
    absent = Absent(reason="not asked for")
    return AnalysisRecord(
        code_version="1", key=key, prompt="p", answer_prefix=None, prompt_id="p", tags={}, model_id="m", model_revision=revision,
        rules="relp/1", goal="top_k", goal_value=1.0, position=0, tokens=("a",), answers=(), scores={}, n_neurons=0, n_links=0,
        settings=HOW, saving=saving, modules=(), unclustered=(), flows=(), concepts=(), donor=None, compared=absent,
        synthesis=absent, notes=(),
    )  # fmt: skip


def test_the_same_question_stands_once_and_other_models_apart(tmp_path) -> None:
    store = AnalysisStore(tmp_path / "analyses")
    assert store.read("r") == []
    assert store.fingerprint() == ""
    for one in (analysis("b"), analysis("a", saving=0.1), analysis("a", saving=0.2), analysis("c", revision="other")):
        store.add(one)
    assert [(one.key, one.saving) for one in store.read("r")] == [("a", 0.2), ("b", 0.5)]


def test_the_fingerprint_follows_every_change(tmp_path) -> None:
    store = AnalysisStore(tmp_path)
    seen = [store.fingerprint()]
    for change in (
        lambda: store.add(analysis("a")),
        lambda: store.add(analysis("a", saving=0.1)),
        lambda: store.add(analysis("b", saving=0.1)),
        lambda: (tmp_path / "a.json").unlink(),
    ):
        change()
        seen.append(store.fingerprint())
    assert len(set(seen)) == 5
    store.add(analysis("b", saving=0.1))
    assert store.fingerprint() == seen[-1]


def test_a_damaged_file_is_named(tmp_path) -> None:
    store = AnalysisStore(tmp_path)
    store.add(analysis("a")).write_text("{}")
    with pytest.raises(DamagedData, match=r"a\.json cannot be read as an analysis: .*Delete it"):
        store.read("r")
