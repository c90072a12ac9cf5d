"""How a table is declared, and what a frame must satisfy to be stored in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import polars as pl

from neuron_atlas.errors import DamagedData

I8, I16, I32, I64 = pl.Int8(), pl.Int16(), pl.Int32(), pl.Int64()
F32, F64, TEXT, BOOL = pl.Float32(), pl.Float64(), pl.String(), pl.Boolean()


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its polars type, what it means (with unit), and whether it may be missing."""

    name: str
    dtype: pl.DataType
    meaning: str
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """One table; `key` columns identify a row."""

    name: str
    meaning: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]

    @property
    def schema(self) -> dict[str, pl.DataType]:
        """Column name to polars type, in order."""
        return {c.name: c.dtype for c in self.columns}

    def empty(self) -> pl.DataFrame:
        """No rows, the right columns."""
        return pl.DataFrame(schema=self.schema)

    def checked(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The frame with this table's columns in order, sorted by key.

        Raises `DamagedData` on missing columns, types that cannot be cast without loss, nulls in required columns, NaN in
        key columns or a repeated key.
        """
        missing = [c.name for c in self.columns if c.name not in frame.columns]
        extra = [c for c in frame.columns if c not in self.schema]
        if missing or extra:
            raise DamagedData(f"table {self.name!r}: missing columns {missing}, unexpected columns {extra}")
        try:
            frame = frame.select(pl.col(c.name).cast(c.dtype) for c in self.columns)
        except pl.exceptions.InvalidOperationError as error:
            raise DamagedData(f"table {self.name!r}: a column does not fit its type: {error}") from error
        nulls = {c.name: n for c in self.columns if not c.optional and (n := frame[c.name].null_count())}
        if nulls:
            raise DamagedData(f"table {self.name!r}: missing values where none are allowed: {nulls}")
        if self.key and not _is_ascending(frame, self.key):
            frame = frame.sort(self.key)
            repeated = frame.height - frame.select(self.key).n_unique()
            if repeated:
                raise DamagedData(f"table {self.name!r}: {repeated} rows repeat the key {self.key}")
        return frame


def _is_ascending(frame: pl.DataFrame, key: Sequence[str]) -> bool:
    """Whether every row's key is greater than the one before: in order, and none twice. Takes a tenth of the time of sorting."""
    greater = pl.lit(False)
    for name in reversed(key):
        here, before = pl.col(name), pl.col(name).shift(1)
        greater = (here > before) | ((here == before) & greater)
    return bool(frame.select(greater.slice(1).all()).item())


Declared: TypeAlias = tuple[str, pl.DataType, str] | tuple[str, pl.DataType, str, Literal[True]]
"""Name, type, meaning, and True where the value may be missing."""


def columns(*declared: Declared) -> tuple[Column, ...]:
    """The columns of a table."""
    return tuple(Column(name, dtype, meaning, bool(optional)) for name, dtype, meaning, *optional in declared)


NEURON: tuple[tuple[str, pl.DataType, str], ...] = (
    ("layer", I16, "layer, from 0"),
    ("neuron", I32, "coordinate in the layer, from 0"),
)
POLARITY: tuple[str, pl.DataType, str] = ("polarity", I8, "+1 or -1: sign of the activation")
PROMPT: tuple[str, pl.DataType, str] = ("prompt_id", TEXT, "16 hex digits from the prompt's content")
