"""`neuron-atlas import` of whole label sets: exports of ours, atlas files, and NeuronDBs of Transluce."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.text import Text

from neuron_atlas.cli.printing import cell, out, print_json, progress
from neuron_atlas.core.hashing import content_hash
from neuron_atlas.core.records import ModelSpec
from neuron_atlas.settings import Settings

if TYPE_CHECKING:
    from neuron_atlas.adapters.labels.label_store import ImportResult
    from neuron_atlas.adapters.neuron_db.transluce import Fetched
    from neuron_atlas.adapters.postgres import Server
    from neuron_atlas.core.publication.search.label_set_contents import LabelSetContents

Kind = Literal["export", "atlas", "transluce"]
KINDS: Mapping[str, Kind] = {"export": "export", "atlas": "atlas", "transluce": "transluce"}
SHOWN = 5
"""Reasons printed for what was left out."""
TRANSLUCE = "transluce"
"""As SOURCE: the NeuronDB on the server of PG_HOST."""


def kind_of(source: str) -> Kind | None:
    """What a source of label sets is, by its form; None for a file of labels."""
    if source == TRANSLUCE or "://" in source:
        return "transluce"
    if Path(source).is_dir():
        return "export"
    return "atlas" if source.endswith((".duckdb", ".db")) else None


def import_label_sets(source: str, kind: Kind, settings: Settings, *, as_json: bool) -> None:
    """Load what `source` holds into the search database and say what was taken and what was left out."""
    from neuron_atlas.adapters.neuron_db import load_label_set
    from neuron_atlas.defs.resources.atlas_resources import Resources

    resources = Resources.from_settings(settings)
    own = resources.model.spec()
    with progress.status("connecting") as status:
        target = resources.postgres.server()
        contents, left_out, fetched = _read(source, kind, settings, target, status.update)
        embedder = resources.embedder.load()
        reports = [
            load_label_set(
                target, one, embedder=embedder, progress=lambda n, of: status.update(f"{n:,} of {of:,} labels embedded")
            )
            for one in contents
        ]
        joined = join_own(fetched, own, settings) if fetched is not None else None
    if fetched is not None:
        shutil.rmtree(fetched.folder)
    if as_json:
        own_labels = None if joined is None else asdict(joined)
        print_json(
            {
                "kind": kind,
                "left_out": left_out,
                "label_sets": [asdict(report) for report in reports],
                "own": own_labels,
            }
        )
        return
    for report in reports:
        held = report.label_set
        state = "loaded" if report.is_new else "was already there"
        out.print(
            f"{held.model_id}, labels {held.version!r}: {held.n_descriptions:,} labels, {held.n_unlabeled:,} without one, "
            f"{report.n_quantiles:,} quantiles, {report.n_exemplars:,} exemplars; {state}"
        )
    if left_out:
        out.print(f"{left_out:,} rows left out: they belong to neurons of experts, or to no neuron", style="dim")
    if joined is not None:
        print_joined(f"labels of {own.model_id}, this atlas's model", joined)


def print_joined(what: str, done: ImportResult, unreadable: Sequence[str] = ()) -> None:
    """What became of labels that were read for the label store; `unreadable` ones could not even be read."""
    out.print(f"{what}: {done.added:,} labels added, {done.unchanged:,} were already there")
    left_out = done.refused + len(unreadable)
    if left_out:
        out.print(f"{left_out:,} left out, for example:")
        for reason in (*unreadable, *done.reasons)[:SHOWN]:
            out.print(Text(f"  {cell(reason)}", style="dim"))
    if done.added:
        out.print("Add them to the atlas with: neuron-atlas label", style="dim")


def join_own(copied: Copied, own: ModelSpec, settings: Settings) -> ImportResult | None:
    """Store the source's labels of this atlas's own model beside labels by people; None when it has none of that model."""
    from neuron_atlas.adapters.labels.label_store import open_label_store
    from neuron_atlas.adapters.neuron_db.transluce import foreign_labels

    if own.model_id not in copied.models:
        return None
    with open_label_store(settings.labels) as store:
        return store.add(foreign_labels(copied.folder, copied.fetched, model_id=own.model_id), model=own)


@dataclass(frozen=True)
class Copied:
    """A source's tables copied to disk until they are converted, and the models they are of."""

    folder: Path
    fetched: Fetched
    models: frozenset[str]


def _read(
    source: str, kind: Kind, settings: Settings, target: Server, say: Callable[[str], None]
) -> tuple[Sequence[LabelSetContents], int, Copied | None]:
    """The label sets of a source, how many rows had no place in them, and what was copied to disk for them."""
    if kind == "export":
        from neuron_atlas.adapters.neuron_db.export import read_export

        say(f"checking {source}")
        return [read_export(Path(source))], 0, None
    if kind == "atlas":
        from neuron_atlas.adapters.atlas_duckdb.label_set import read_atlas_label_set

        say(f"reading {source}")
        return [read_atlas_label_set(Path(source))], 0, None
    from neuron_atlas.adapters.neuron_db.database import named_server
    from neuron_atlas.adapters.neuron_db.transluce import fetch, read_fetched

    server = target if source == TRANSLUCE else named_server(source)
    folder = settings.root / "imports" / content_hash([server.host, server.port, server.database])[:16]
    fetched = fetch(server, folder, progress=lambda table, n, of: say(f"{table}: {n:,} of {of:,} rows"))
    say("converting rows to labels")
    converted = read_fetched(folder, fetched)
    models = frozenset(one.model.model_id for one in converted.contents)
    return converted.contents, converted.left_out, Copied(folder, fetched, models)
