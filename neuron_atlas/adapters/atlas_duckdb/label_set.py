"""The label set of an atlas file, for a search database or an export: its labels with scores, clusters, quantiles, exemplars."""

from __future__ import annotations

from pathlib import Path

from neuron_atlas.adapters.atlas_duckdb.schema import PUBLISHED, frame_of, open_read_only
from neuron_atlas.core.publication.search.label_set_contents import LabelSetContents, SizedModel, collect_label_set
from neuron_atlas.errors import BadInput

TABLES = (
    "output_labels", "input_labels", "label_scores", "activation_stats", "exemplars", "cluster_members", "cluster_labels",
)  # fmt: skip


def read_atlas_label_set(path: Path, *, version: str = "atlas") -> LabelSetContents:
    """The contents of an atlas file, under the name `version`.

    Raises as `open_atlas`, and `BadInput` when the file does not say which model it is of.
    """
    connection = open_read_only(path)
    try:
        facts = dict(connection.execute("select key, value from metadata").fetchall())
        frames = {name: frame_of(connection, f'select * from "{name}"').lazy() for name in TABLES}
    finally:
        connection.close()
    missing = [name for name in ("model_id", "model_revision", "n_layers", "n_neurons") if name not in facts]
    if missing:
        raise BadInput(f"{path} does not say its {', '.join(missing)}; expected an atlas that neuron-atlas published")
    model = SizedModel(facts["model_id"], facts["model_revision"], int(facts["n_layers"]), int(facts["n_neurons"]))
    return collect_label_set(
        {PUBLISHED[name].name: frame for name, frame in frames.items()}, model=model, version=version
    )
