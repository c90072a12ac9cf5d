"""The files of analyses: a graph, a record and a page for each prompt, and a summary for a study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from neuron_atlas.adapters.files import make_folder, write_atomically
from neuron_atlas.adapters.graphs.graph_files import write_graph
from neuron_atlas.core.circuits.analysis.analysis_record import AnalysisRecord, read_record
from neuron_atlas.core.circuits.analysis.analyze import Analysis
from neuron_atlas.core.circuits.analysis.interventions.study_summary import StudySummary
from neuron_atlas.core.circuits.analysis.report.study_page import study_page
from neuron_atlas.errors import BadInput, UserError


@dataclass(frozen=True, slots=True)
class AnalysisFiles:
    """The paths of one analysis."""

    folder: Path
    slug: str

    @property
    def graph(self) -> Path:
        """The graph, as Neuronpedia's JSON."""
        return self.folder / f"{self.slug}-graph.json"

    @property
    def record(self) -> Path:
        """The record, as JSON."""
        return self.folder / f"{self.slug}-analysis.json"

    @property
    def page(self) -> Path:
        """The page, as HTML."""
        return self.folder / f"{self.slug}-analysis.html"

    @property
    def paths(self) -> tuple[Path, Path, Path]:
        """All of them."""
        return self.graph, self.record, self.page

    def write(self, found: Analysis) -> None:
        """Write all; the record comes last, so where it is, the others are."""
        write_graph(found.graph, self.graph)
        write_text(self.page, found.to_html())
        write_text(self.record, found.record.model_dump_json(indent=1) + "\n")

    def record_of(self, key: str) -> AnalysisRecord | None:
        """The stored record, if it answers the request of this key; None for another request or a damaged file."""
        if not self.record.exists():
            return None
        try:
            found = read_record(self.record.read_text(encoding="utf-8"))
        except (BadInput, UnicodeDecodeError):
            return None
        return found if found.key == key else None


def write_study(folder: Path, summary: StudySummary, records: Sequence[AnalysisRecord]) -> tuple[Path, Path]:
    """The summary as JSON and as a page; returns their paths."""
    as_json, as_page = folder / "summary.json", folder / "index.html"
    write_text(as_json, summary.model_dump_json(indent=1) + "\n")
    write_text(as_page, study_page(summary, records))
    return as_json, as_page


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all, and its folder where it is missing. Raises `UserError` when the file cannot be written."""
    make_folder(path.parent)
    try:
        write_atomically(path, text)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}. Choose another place with --output") from error
