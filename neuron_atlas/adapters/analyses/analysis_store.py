"""The analyses of an atlas: one JSON file per request in a folder, from which the next build of the atlas takes its rows.

A file is named by the hash of the request, so the same request answered again replaces it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from neuron_atlas.adapters.files import make_folder, write_atomically
from neuron_atlas.core.circuits.analysis.analysis_record import AnalysisRecord, read_record
from neuron_atlas.errors import BadInput, DamagedData


@dataclass(frozen=True, slots=True)
class AnalysisStore:
    """The analyses in a folder; empty where the folder does not exist."""

    folder: Path

    def add(self, record: AnalysisRecord) -> Path:
        """Store an analysis, replacing an earlier one of the same request. Returns its file."""
        make_folder(self.folder)
        path = self.folder / f"{record.key}.json"
        write_atomically(path, record.model_dump_json() + "\n")
        return path

    def read(self, model_revision: str) -> list[AnalysisRecord]:
        """The analyses of one model, by key. Raises `DamagedData` naming a file that is not one, and what to do."""
        found = [self._read(path) for path in self._files()]
        return [record for record in found if record.model_revision == model_revision]

    def fingerprint(self) -> str:
        """Changes when an analysis is added, changed or removed; "" for none."""
        files = self._files()
        digest = hashlib.sha256()
        for path in files:
            digest.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest() if files else ""

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("*.json")) if self.folder.is_dir() else []

    @staticmethod
    def _read(path: Path) -> AnalysisRecord:
        try:
            return read_record(path.read_text(encoding="utf-8"))
        except (BadInput, UnicodeDecodeError) as error:
            raise DamagedData(
                f"{path} cannot be read as an analysis: {error}. Delete it, or analyze its prompt again"
            ) from error
