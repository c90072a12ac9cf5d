"""A label set as files: Parquet or JSON lines, with a manifest that says how many rows and which checksum each file has.

    manifest.json        model, label version, embedder of the database, quantile levels, and per file rows, bytes, sha256
    descriptions.*       one row per neuron, polarity, side and labeler
    neurons.*  quantiles.*  exemplars.*

The folder appears whole or not at all. Vectors are left out: they follow from the labels and the embedder. Reading checks every
size and checksum first, so that an interrupted copy is noticed and named.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeAlias

import polars as pl
from psycopg import sql
from pydantic import BaseModel, ConfigDict, ValidationError

from neuron_atlas.adapters.files import file_sha256, staged_folder
from neuron_atlas.adapters.neuron_db.label_sets import find_label_set
from neuron_atlas.adapters.postgres import Connection, unescaped
from neuron_atlas.core.publication.search.label_set_contents import (
    PARTS,
    LabelSetContents,
    SizedModel,
    checked_contents,
)
from neuron_atlas.core.tables import QUANTILE_LEVELS
from neuron_atlas.errors import BadInput, DamagedData

Form: TypeAlias = Literal["parquet", "jsonl"]
FORMAT = "neuron_atlas label set/1"
MANIFEST = "manifest.json"
BATCH = 50_000


class FileEntry(BaseModel):
    """One file of an export."""

    model_config = ConfigDict(extra="forbid")
    name: str
    rows: int
    bytes: int
    sha256: str


class ExportManifest(BaseModel):
    """What an export folder says of itself."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())
    format: str
    model_id: str
    revision: str
    n_layers: int
    n_neurons: int
    version: str
    quantile_levels: list[float]
    files: dict[str, FileEntry]


def read_label_set(connection: Connection, *, model: str | None = None, version: str | None = None) -> LabelSetContents:
    """Everything stored of a label set. Raises as `find_label_set`."""
    held = find_label_set(connection, model=model, version=version)
    size = connection.execute(
        "select n_layers, n_neurons from neuron_db.models where model = %s", [held.model]
    ).fetchone()
    assert size is not None
    sized = SizedModel(held.model_id, held.revision, int(size[0]), int(size[1]))
    owners = {name: ("model", held.model) for name in PARTS} | {"descriptions": ("label_set", held.label_set)}
    frames = {name: _table(connection, name, *owner) for name, owner in owners.items()}
    return LabelSetContents.of_frames(sized, held.version, frames)


def write_export(contents: LabelSetContents, folder: Path, *, form: Form = "parquet") -> ExportManifest:
    """Write an export; `folder` must not exist yet, or be empty. Raises `BadInput` when it is there already."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadInput(f"{folder} exists already; choose a new folder for the export, or remove it")
    with staged_folder(folder) as building:
        files: dict[str, FileEntry] = {}
        for name, frame in contents.frames().items():
            path = building / f"{name}.{form}"
            frame.write_parquet(path) if form == "parquet" else frame.write_ndjson(path)
            files[name] = FileEntry(
                name=path.name, rows=frame.height, bytes=path.stat().st_size, sha256=file_sha256(path)
            )
        model = contents.model
        manifest = ExportManifest(
            format=FORMAT, model_id=model.model_id, revision=model.revision, n_layers=model.n_layers,
            n_neurons=model.n_neurons, version=contents.version, quantile_levels=list(QUANTILE_LEVELS), files=files,
        )  # fmt: skip
        (building / MANIFEST).write_text(manifest.model_dump_json(indent=1))
    return manifest


def read_export(folder: Path) -> LabelSetContents:
    """The contents of an export folder.

    Raises `BadInput` for a folder that is none, `DamagedData` naming the first file that is missing, cut short or changed.
    """
    try:
        manifest = ExportManifest.model_validate_json((folder / MANIFEST).read_bytes())
    except (OSError, ValidationError) as error:
        raise BadInput(
            f"{folder} is no export of a label set ({MANIFEST}: {error}); expected one of neuron-atlas export"
        ) from error
    if manifest.format != FORMAT or manifest.files.keys() != PARTS.keys():
        raise BadInput(f"{folder} has format {manifest.format!r}; this release reads {FORMAT!r}")
    if manifest.quantile_levels != list(QUANTILE_LEVELS):
        raise BadInput(f"{folder} has quantiles at other levels than this release; expected {list(QUANTILE_LEVELS)}")
    frames = {name: _read(folder, name, entry) for name, entry in manifest.files.items()}
    model = SizedModel(manifest.model_id, manifest.revision, manifest.n_layers, manifest.n_neurons)
    return checked_contents(model, manifest.version, frames)


def _read(folder: Path, name: str, entry: FileEntry) -> pl.DataFrame:
    path = folder / entry.name
    if Path(entry.name).name != entry.name or path.is_symlink():
        raise BadInput(f"{folder}: {entry.name!r} is no file name")
    if not path.is_file():
        raise DamagedData(f"{path} is missing; copy the export again")
    if path.stat().st_size != entry.bytes:
        raise DamagedData(f"{path} has {path.stat().st_size} of {entry.bytes} bytes; copy the export again")
    if file_sha256(path) != entry.sha256:
        raise DamagedData(f"{path} is not what was exported (its sha256 differs); copy the export again")
    wide = {column: _wide(dtype) for column, dtype in PARTS[name][0].items()}
    frame = pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_ndjson(path, schema=wide)
    if frame.height != entry.rows:
        raise DamagedData(f"{path} has {frame.height} rows; expected {entry.rows}")
    return frame


def _wide(dtype: pl.DataType) -> pl.DataType:
    """The type that JSON's numbers are read as."""
    if isinstance(dtype, pl.List):
        return pl.List(_wide(pl.Float32() if dtype.inner == pl.Float32 else pl.String()))
    return pl.Float64() if dtype.is_float() else pl.Int64() if dtype.is_integer() else dtype


def _table(connection: Connection, name: str, owner: str, key: int) -> pl.DataFrame:
    """The rows of one owner in key order, read by a cursor."""
    schema, order = PARTS[name]
    query = sql.SQL("select {} from {} where {} = %s order by {}").format(
        sql.SQL(", ").join(map(sql.Identifier, schema)),
        sql.Identifier("neuron_db", name),
        sql.Identifier(owner),
        sql.SQL(", ").join(map(sql.Identifier, order)),
    )
    frames = [pl.DataFrame(schema=schema)]
    with connection.cursor(f"read_{name}", binary=True) as cursor:
        cursor.execute(query, [key])
        while rows := cursor.fetchmany(BATCH):
            frames.append(pl.DataFrame(rows, schema=schema, orient="row"))
    return unescaped(pl.concat(frames)).sort(order)
