"""`neuron-atlas analyze --config`: the prompts of a study, one after the other, and their summary."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from neuron_atlas.cli.circuits.analysis_files import AnalysisFiles, write_study
from neuron_atlas.cli.circuits.analysis_printing import show_study
from neuron_atlas.cli.circuits.analysis_run import AnalysisRun
from neuron_atlas.cli.printing import print_json, progress
from neuron_atlas.core.attribution.exchange.slugs import default_slug
from neuron_atlas.core.circuits.analysis.analyze import request_key
from neuron_atlas.core.records import Prompt
from neuron_atlas.errors import BadInput

if TYPE_CHECKING:
    from neuron_atlas.adapters.analyses.study_config import StudyTask


def analyze_study(run: AnalysisRun, config: str, output: Path, *, random_sets: int | None, fresh: bool) -> None:
    """Analyze every prompt of a study (a file, or the name of one that is shipped) and sum them up.

    A prompt whose files answer the same request is not analyzed again, unless `fresh`.
    """
    from neuron_atlas.adapters.analyses.study_config import read_study_config, shipped_studies
    from neuron_atlas.core.circuits.analysis.interventions.study_summary import summarise_study

    shipped = shipped_studies()
    path = shipped[config] if config in shipped and not Path(config).exists() else Path(config)
    if not path.exists():
        raise BadInput(f"there is no file {config}, nor a study of that name; studies: {', '.join(shipped) or 'none'}")
    study = read_study_config(path)
    options = study.options if random_sets is None else replace(study.options, random_sets=random_sets)
    model = run.model(study.model)
    folder = output / study.name
    records = []
    for number, task in enumerate(study.tasks, 1):
        files = AnalysisFiles(folder, _task_slug(task, number, len(study.tasks)))
        key = request_key(
            task.prompt,
            model.spec.revision,
            options=options,
            tracing=study.tracing,
            donor=task.donor,
            concepts=task.concepts,
            language_model=run.language_model,
        )
        record = None if fresh else files.record_of(key)
        if record is None:
            progress.print(Text(f"{number}/{len(study.tasks)} {task.prompt.text}", "dim"))
            found = run.analyze(
                model,
                task.prompt,
                options=options,
                tracing=study.tracing,
                donor=task.donor,
                concepts=task.concepts,
            )
            files.write(found)
            record = found.record
        run.keep(record)
        records.append(record)
    summary = summarise_study(study.name, records)
    written = write_study(folder, summary, records)
    if run.as_json:
        print_json(summary.model_dump(mode="json"))
    else:
        show_study(summary, study.description, written, is_quiet=run.quiet)


def _task_slug(task: StudyTask, number: int, total: int) -> str:
    """`07-the-capital-of-the-state-containing-bend-is`: numbered, so that files sort in the order of the study."""
    words = default_slug(Prompt(task.prompt.text)).removeprefix("relp-")
    return f"{number:0{len(str(total))}}-{words}"
