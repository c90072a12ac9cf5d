"""Content hashes: of tables, whatever stores them, and of JSON values.

The same rows give the same sha256 from Parquet, DuckDB and Postgres: values are hashed column by column in a canonical
form, so chunking, compression, file metadata and the bytes under a missing value make no difference.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from hashlib import _Hash  # pyright: ignore[reportPrivateUsage]


TEXTS_AT_ONCE = 100_000
"""Texts joined at a time; it affects memory alone, not the hash."""


def frame_hash(frame: pl.DataFrame) -> str:
    """The sha256 of a frame's column names, types and values in row order, 64 hex digits."""
    digest = hashlib.sha256()
    for name in frame.columns:
        digest.update(f"{name}:{frame.schema[name]}:{frame.height}\n".encode())
        _update(digest, frame[name].rechunk())
    return digest.hexdigest()


def frames_hash(frames: Mapping[str, pl.DataFrame]) -> str:
    """The sha256 of several named frames, in name order."""
    digest = hashlib.sha256()
    for name in sorted(frames):
        digest.update(f"{name}={frame_hash(frames[name])}\n".encode())
    return digest.hexdigest()


def _update(digest: _Hash, values: pl.Series) -> None:
    missing = values.null_count()
    digest.update(f"{missing} missing\n".encode())  # without it, a mask of missing values could hash like values
    if missing:
        digest.update(np.packbits(values.is_null().to_numpy()).tobytes())
        values = values.drop_nulls()
    if isinstance(values.dtype, pl.List):
        lengths = values.list.len()
        digest.update(lengths.cast(pl.UInt32).to_numpy().tobytes())
        _update(digest, values.filter(lengths > 0).explode().rechunk())
    elif values.dtype == pl.String:
        digest.update(values.str.len_bytes().cast(pl.UInt32).to_numpy().tobytes())
        for part in values.to_frame().iter_slices(TEXTS_AT_ONCE):
            digest.update("".join(part.to_series().to_list()).encode())
    elif values.dtype == pl.Boolean:
        digest.update(np.packbits(values.to_numpy()).tobytes())
    else:
        if values.dtype.is_float():
            values = values.fill_nan(float("nan"))  # one NaN for all: stores do not keep its sign
        digest.update(values.to_numpy().tobytes())


def content_hash(value: object) -> str:
    """The sha256 of a JSON-serialisable value in canonical form, 64 hex digits."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
