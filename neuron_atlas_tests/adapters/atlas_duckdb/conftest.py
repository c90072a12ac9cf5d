"""A small atlas written by hand: two layers of eight neurons, one of which raises state capitals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import polars as pl
import pytest

from neuron_atlas.adapters.atlas_duckdb import build_atlas
from neuron_atlas.core.tables import ASSETS

Rows: TypeAlias = list[dict[str, object]]
TablesOf: TypeAlias = Callable[..., dict[str, pl.LazyFrame]]

TABLE = {table.name: table for tables in ASSETS.values() for table in tables}
FACTS = {"model_id": "hand-made", "model_revision": "0" * 64, "n_layers": "2", "n_neurons": "8"}


def table_of(name: str, rows: Rows) -> pl.LazyFrame:
    """A table from the columns that matter; the others get 0, "" or [] (missing where allowed)."""
    table = TABLE[name]
    blank = {"String": "", "Boolean": False}
    filled = [
        {c.name: row.get(c.name, None if c.optional else [] if "List" in str(c.dtype) else blank.get(str(c.dtype), 0))
         for c in table.columns} for row in rows
    ]  # fmt: skip
    return pl.DataFrame(filled, schema=table.schema).lazy()


def _edge(source: tuple[str, int, int], target: tuple[str, int, int], weight: float, n: int = 4) -> dict[str, object]:
    return {
        "source_kind": source[0], "source_layer": source[1], "source": source[2],
        "target_kind": target[0], "target_layer": target[1], "target": target[2],
        "n": n, "n_prompts": n, "frequency": 0.5, "weight_mean": weight, "weight_abs_mean": abs(weight), "weight_std": 0.5,
        "weight_min": weight, "weight_max": weight, "sign_agreement": 1.0, "flow_mean": weight, "flow_abs_mean": abs(weight),
    }  # fmt: skip


def hand_made() -> dict[str, Rows]:
    """Rows of every table that is not empty.

    L1/N3 raises " Salem" and " Boise" when positive and is in cluster 1.1; L0/N2 feeds it; L1/N5 promotes plural verbs.
    """
    label = {"labeler": "rules", "version": "rules/1", "direction": 1, "evidence_hash": "e", "model_revision": "0" * 64}
    at_3, at_5, at_2 = {"layer": 1, "neuron": 3}, {"layer": 1, "neuron": 5}, {"layer": 0, "neuron": 2}
    return {
        "graphs": [
            {"prompt_id": "p1", "prompt_set": "geography", "kind": "domain", "text": "The capital of Oregon is",
             "token_ids": [1, 2], "tokens": ["<bos>", " Oregon"], "position": 1},
            {"prompt_id": "p1", "prompt_set": "shared", "kind": "domain", "text": "The capital of Oregon is",
             "token_ids": [1, 2], "tokens": ["<bos>", " Oregon"], "position": 1},
            {"prompt_id": "p2", "prompt_set": "geography", "kind": "domain", "text": "", "reason": "empty"},
        ],
        "targets": [{"prompt_id": "p1", "node": 3, "token_id": 7, "token": " Salem"}] * 2,
        "nodes": [{"prompt_id": "p1", "node": n, "kind": "logit" if n == 3 else "neuron"} for n in range(4)] * 2,
        "edges": [{"prompt_id": "p1", "source": 1, "target": 2, "weight": 1.5}] * 2,
        "set_sums": [{"prompt_set": name, "kind": "domain", "n_prompts": 1} for name in ("geography", "shared")],
        "edge_stats": [
            _edge(("neuron", 0, 2), ("neuron", 1, 3), 2.0),
            _edge(("neuron", 0, 1), ("neuron", 1, 3), -0.5),
            _edge(("embedding", -1, 2), ("neuron", 1, 3), 1.0),
            _edge(("neuron", 1, 3), ("logit", 2, 7), 3.0, n=8),
        ],
        "neuron_profiles": [
            {**at_3, "polarity": 1, "n": 10, "n_prompts": 5, "relevance_abs_mean": 2.0, "frequency": 0.5, "domain": "geography"},
            {**at_3, "polarity": -1, "n": 2, "n_prompts": 1, "relevance_abs_mean": 1.0},
            {**at_2, "polarity": -1, "n": 3, "n_prompts": 3, "relevance_abs_mean": 1.0},
        ],
        "output_associations": [{**at_3, "token_id": 1, "token": " Salem", "n": 3, "n_prompts": 2, "lift": 2.0}],
        "token_associations": [{**at_3, "polarity": 1, "place": "active", "token_id": 2, "token": " Oregon", "n": 3}],
        "cooccurrence": [{**at_3, "rank": 0, "other_layer": 0, "other_neuron": 2, "jaccard": 0.5}],
        "neuron_prompts": [{**at_3, "prompt_id": "p1", "prompt_set": s, "relevance": 2.0} for s in ("geography", "shared")],
        "activation_stats": [
            {**at_3, "corpus": "small", "n_tokens": 10, "maximum": 9.0, "minimum": -1.0},
            {**at_3, "corpus": "large", "n_tokens": 100, "maximum": 5.0, "minimum": -2.0, "density_positive": 0.1},
            {**at_5, "corpus": "large", "n_tokens": 100, "maximum": 1.0, "minimum": -4.0},
        ],
        "exemplars": [{**at_3, "corpus": "large", "polarity": 1, "kind": "top", "rank": 0, "tokens": [" Oregon"]}],
        "output_projections": [
            {**at_3, "direction": 1, "rank": 0, "token_id": 7, "token": " Salem", "weight": 3.0, "output_norm": 2.5},
            {**at_3, "direction": 1, "rank": 1, "token_id": 8, "token": " Boise", "weight": 2.0, "output_norm": 2.5},
            {**at_3, "direction": -1, "rank": 0, "token_id": 9, "token": " are", "weight": -1.0, "output_norm": 2.5},
        ],
        "input_projections": [{**at_3, "direction": 1, "rank": 0, "token_id": 2, "token": " Oregon", "response": 1.0}],
        "der_scores": [{**at_3, "n": 12, "der": 0.9, "effect_type": "logit"}],
        "output_labels": [
            {**at_3, **label, "polarity": 1, "label": "promotes state capitals: Salem", "description": "It raises capitals."},
            {**at_3, **label, "polarity": 1, "labeler": "human", "label": "says the capital of a state",
             "description": "A person looked."},
            {**at_3, **label, "polarity": -1, "label": "promotes are", "description": "Verbs."},
            {**at_5, **label, "polarity": 1, "label": None, "unlabeled_reason": "too little evidence"},
            {**at_5, **label, "polarity": -1, "label": "promotes plural verbs: are, were", "description": "It raises verbs."},
            {**at_2, **label, "polarity": -1, "label": "routes to state capitals", "description": "It feeds L1/N3."},
        ],
        "input_labels": [{**at_3, **label, "polarity": 1, "label": "fires on Oregon", "description": "A state."}],
        "label_scores": [
            {**at_3, "polarity": 1, "labeler": labeler, "side": side, "metric": metric, "score": score, "interpretability": level}
            for labeler, side, metric, score, level in (
                ("human", "output", "intervention", 0.8, "high"),
                ("rules", "input", "fuzzing", 0.4, "low"),
                ("rules", "input", "detection", 0.6, "medium"),
            )
        ] + [{**at_5, "polarity": 1, "labeler": "rules", "side": "output", "metric": "projection_rank", "score": 0.1}],
        "clusters": [
            {"path": "1", "level": 1, "size": 3, "flow": 0.9},
            {"path": "1.1", "level": 2, "size": 2, "flow": 0.8},
        ],
        "cluster_members": [
            {**at_3, "path": "1.1", "top": 1, "flow": 0.5},
            {**at_2, "path": "1.1", "top": 1, "flow": 0.3},
            {"layer": 0, "neuron": 1, "path": "1", "top": 1, "flow": 0.1},
            {**at_5, "path": None, "top": None, "flow": 0.0},
        ],
        "cluster_runs": [{"algorithm": "infomap"}],
        "cluster_flows": [{"source": 1, "target": 1, "n_edges": 2, "flow": 1.5, "flow_abs": 2.5, "flow_inhibitory": 0.5}],
        "profile_clusters": [{"cluster": 4, "size": 2, "input_tokens": [" Oregon"], "raised_tokens": [" Salem"]}],
        "profile_members": [{**at_3, "polarity": 1, "cluster": 4}, {**at_2, "polarity": -1, "cluster": 4}, {**at_5, "polarity": 1}],
        "profile_agreement": [{"level": "top", "n": 2, "ami": 0.5}],
        "analyses": [{"analysis": "a", "prompt_id": "p1", "prompt": "The capital of Oregon is", "donor_answer": " Boise"}],
        "analysis_modules": [
            {"analysis": "a", "module": 1, "relevance": 0.5},
            {"analysis": "a", "module": 2, "name": "says: Salem", "relevance": 2.0},
        ],
        "analysis_members": [
            {"analysis": "a", **at_3, "position": 1, "module": 2}, {"analysis": "a", **at_2, "position": 1}
        ],
        "analysis_flows": [{"analysis": "a", "source_kind": "token", "target_kind": "module", "target": 2, "flow": 1.5}],
        "correlated_neurons": [{"corpus": "c", **at_3, "rank": 0, "other_layer": 0, "other_neuron": 2, "correlation": 0.5}],
        "projection_agreement": [{"corpus": "c", **at_3, "side": "input", "rank_correlation": 0.9, "n_tokens": 9}],
        "weight_edges": [{**at_2, "direction": 1, "rank": 0, "target_layer": 1, "target": 3, "gate": 1.0, "strength": 1.0}],
        "faithfulness": [{"prompt_set": "capitals", "protocol": "circuit", "method": "relp/1", "n": 32, "share": 0.5}],
        "cluster_labels": [
            {"path": "1.1", "labeler": "rules", "is_best": True, "label": "geography circuit: Salem", "tokens": [" Salem"]}
        ],
    }  # fmt: skip


@pytest.fixture
def facts() -> dict[str, str]:
    return dict(FACTS)


@pytest.fixture
def tables_of() -> TablesOf:
    """`tables_of()` is the hand-made atlas' tables; `tables_of(clusters=[...])` replaces rows of one."""

    def make(**replaced: Rows) -> dict[str, pl.LazyFrame]:
        return {name: table_of(name, rows) for name, rows in {**hand_made(), **replaced}.items()}

    return make


@pytest.fixture
def rows_of() -> Callable[[str], Rows]:
    return lambda name: hand_made()[name]


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The hand-made atlas, built once; only read it."""
    path = tmp_path_factory.mktemp("atlas") / "atlas.duckdb"
    build_atlas(path, {name: table_of(name, rows) for name, rows in hand_made().items()}, facts=FACTS)
    return path
