"""The tables of analyses: their records (`analysis_record.py`) as rows that can be joined with everything else in an atlas."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import polars as pl

from neuron_atlas.core.circuits.analysis.analysis_record import Absent, AnalysisRecord
from neuron_atlas.core.records import Frames, NeuronId
from neuron_atlas.core.tables import ANALYSES, ANALYSIS_FLOWS, ANALYSIS_MEMBERS, ANALYSIS_MODULES, Table

Row = dict[str, object]


def analysis_tables(records: Sequence[AnalysisRecord]) -> Frames:
    """The rows of all analyses: `analyses`, `analysis_modules`, `analysis_members`, `analysis_flows` (see core/tables)."""
    return {
        table.name: _frame(table, (row for record in records for row in rows(record)))
        for table, rows in (
            (ANALYSES, _summary),
            (ANALYSIS_MODULES, _modules),
            (ANALYSIS_MEMBERS, _members),
            (ANALYSIS_FLOWS, _flows),
        )
    }


def _frame(table: Table, rows: Iterable[Row]) -> pl.DataFrame:
    return table.checked(pl.DataFrame(list(rows), schema=table.schema))


def _summary(record: AnalysisRecord) -> Iterator[Row]:
    account = None if isinstance(record.synthesis, Absent) else record.synthesis
    yield {
        "analysis": record.key,
        "prompt_id": record.prompt_id,
        "prompt": record.prompt,
        "goal": record.goal,
        "goal_value": record.goal_value,
        "rules": record.rules,
        "n_neurons": record.n_neurons,
        "n_links": record.n_links,
        "n_modules": len(record.modules),
        "saving": record.saving,
        "donor": record.donor.text if record.donor else None,
        "donor_answer": record.donor.answer if record.donor else None,
        "narrative": account.narrative if account else None,
        "language_model": account.language_model if account else None,
        "code_version": record.code_version,
    }


def _modules(record: AnalysisRecord) -> Iterator[Row]:
    accounts = {} if isinstance(record.synthesis, Absent) else {a.module: a.name for a in record.synthesis.modules}
    swaps = {swap.module: swap for swap in record.donor.swaps} if record.donor else {}
    for one in record.modules:
        swap = swaps.get(one.module)
        yield {
            "analysis": record.key,
            "module": one.module,
            "path": one.path,
            "name": one.name,
            "account": accounts.get(one.module),
            "concepts": [concept.name for concept in record.concepts if concept.module == one.module],
            "size": one.size,
            "layer_min": one.layer_min,
            "layer_max": one.layer_max,
            "relevance": one.relevance,
            "share": one.share,
            "reads": [read.token for read in one.reads],
            "promotes": [written.token for written in one.promotes],
            "suppresses": [written.token for written in one.suppresses],
            "top": one.zeroed.top if one.zeroed else None,
            "top_without": one.zeroed.top_after if one.zeroed else None,
            "random_top_kept": one.zeroed.random_top_kept if one.zeroed else None,
            "donor_module": swap.donor_module if swap else None,
            "likeness": swap.likeness if swap else None,
            "top_swapped": swap.effect.top_after if swap else None,
        }


def _members(record: AnalysisRecord) -> Iterator[Row]:
    placed = [(module.module, member) for module in record.modules for member in module.members]
    for module, member in [*placed, *((None, member) for member in record.unclustered)]:
        neuron = NeuronId.parse(member.neuron)
        yield {
            "analysis": record.key,
            "layer": neuron.layer,
            "neuron": neuron.neuron,
            "position": member.position,
            "token": member.token,
            "module": module,
            "activation": member.activation,
            "relevance": member.relevance,
            "direct": member.direct,
        }


def _flows(record: AnalysisRecord) -> Iterator[Row]:
    for flow in record.flows:
        yield {"analysis": record.key, **flow.model_dump()}
