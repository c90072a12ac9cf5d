"""What every form of `neuron-atlas analyze` shares: the settings, the model, the labels, the language model, showing the result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from neuron_atlas.cli.attribution.graph_labels import labels_by_side
from neuron_atlas.cli.circuits.analysis_files import AnalysisFiles
from neuron_atlas.cli.circuits.analysis_printing import show_analysis
from neuron_atlas.cli.printing import print_json, progress
from neuron_atlas.core.circuits.analysis.analyze import AnalyzeOptions
from neuron_atlas.core.circuits.analysis.modules.concepts import ConceptQuery
from neuron_atlas.core.records import AttributionGraph, Prompt, TraceOptions
from neuron_atlas.settings import Settings

if TYPE_CHECKING:
    from neuron_atlas.adapters.subject_model.huggingface import HuggingFaceModel
    from neuron_atlas.core.circuits.analysis.analysis_record import AnalysisRecord
    from neuron_atlas.core.circuits.analysis.analyze import Analysis
    from neuron_atlas.core.ports import LanguageModel
    from neuron_atlas.core.records import InstanceLabels


class AnalysisRun:
    """One call of the command; the model is loaded at most once."""

    def __init__(self, settings: Settings, model: str | None, *, llm: bool, quiet: bool, as_json: bool) -> None:
        self.settings, self.quiet, self.as_json = settings, quiet, as_json
        self.model_id = model
        self.language_model = _language_model(settings, is_wanted=llm)
        self._loaded: HuggingFaceModel | None = None

    def model(self, default: str | None = None) -> HuggingFaceModel:
        """The model under study: the one named on the command line, else `default`, else that of the settings."""
        if self._loaded is None:
            name = self.model_id or default or self.settings.model
            with progress.status(f"loading {name} …"):
                from neuron_atlas.adapters.subject_model.load import load_model

                self._loaded = load_model(name, device=self.settings.device, dtype=self.settings.dtype)
        return self._loaded

    def keep(self, record: AnalysisRecord) -> None:
        """Store an analysis for the next build of the atlas."""
        from neuron_atlas.adapters.analyses.analysis_store import AnalysisStore

        AnalysisStore(self.settings.analyses).add(record)

    def analyze(
        self,
        model: HuggingFaceModel | None,
        subject: Prompt | AttributionGraph,
        *,
        options: AnalyzeOptions,
        tracing: TraceOptions,
        donor: str | None,
        concepts: Mapping[str, ConceptQuery],
        progress: Callable[[str], None] | None = None,
    ) -> Analysis:
        """Analyze a prompt or a graph with the labels of the atlas."""
        from neuron_atlas.core.circuits.analysis.analyze import analyze

        return analyze(
            model,
            subject,
            options=options,
            tracing=tracing,
            donor=donor,
            concepts=concepts,
            labels=self._labels,
            language_model=self.language_model,
            progress=progress,
        )

    def analyze_and_show(
        self,
        model: HuggingFaceModel | None,
        subject: Prompt | AttributionGraph,
        files: AnalysisFiles,
        *,
        options: AnalyzeOptions,
        tracing: TraceOptions,
        donor: str | None,
        concepts: Mapping[str, ConceptQuery],
    ) -> None:
        """Analyze, write the files, keep the record, print."""
        with progress.status("analyzing …") as status:
            found = self.analyze(
                model,
                subject,
                options=options,
                tracing=tracing,
                donor=donor,
                concepts=concepts,
                progress=lambda stage: status.update(f"{stage} …"),
            )
        files.write(found)
        self.keep(found.record)
        if self.as_json:
            print_json(found.record.model_dump(mode="json"))
        else:
            show_analysis(found.record, files.paths, is_quiet=self.quiet)

    def _labels(self, graph: AttributionGraph) -> tuple[InstanceLabels, str]:
        """The atlas' labels of the graph's neurons."""
        return labels_by_side(self.settings.atlas, graph)


def _language_model(settings: Settings, *, is_wanted: bool) -> LanguageModel | None:
    """The language model of the settings, where it is wanted. Raises `BadInput` where none is set up."""
    if not is_wanted:
        return None
    from neuron_atlas.defs.resources.atlas_resources import Resources

    return Resources.from_settings(settings).language_model.open()
