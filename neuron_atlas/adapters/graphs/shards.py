"""Graphs of one prompt set while they are being made: a shard at a time, so that a killed run redoes only what is missing.

    <folder>/run.json              what shapes the graphs: model, options, prompts, code version
    <folder>/<shard>/shard.json    the prompts of a finished shard and the sha256 of its files
    <folder>/<shard>/*.parquet     its rows of graphs, targets, nodes, edges

A shard is written beside, flushed and renamed, so it is there whole or not at all; one whose files no longer match is dropped
and made again. Shards are cut from the prompt set in order, whatever is missing: prompts are then always traced in the same
company, and a run that was killed ends with the same bytes as one that was not.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import cast

import polars as pl

from neuron_atlas.adapters.files import file_sha256, make_folder, staged_folder, write_atomically
from neuron_atlas.core.attribution.graph.tables import graph_frames
from neuron_atlas.core.hashing import content_hash
from neuron_atlas.core.records import AttributionGraph, Frames, Prompt, PromptSet, Quarantined, TraceOptions
from neuron_atlas.core.tables import tables_of
from neuron_atlas.errors import ConfigurationChanged, Incomplete

TABLES = tables_of("raw_graphs")
SHARD_PROMPTS = 64
"""Prompts of one shard; a multiple of what is traced together."""


class GraphShards:
    """The unfinished graphs of one prompt set in one folder."""

    def __init__(
        self,
        folder: Path,
        *,
        prompt_set: PromptSet,
        options: TraceOptions,
        model_revision: str,
        code_version: str,
        shard_prompts: int = SHARD_PROMPTS,
    ) -> None:
        """Begin, or go on with what is there. Raises `ConfigurationChanged` for a folder begun with other settings."""
        self.folder = make_folder(folder)
        self._prompt_set, self._options = prompt_set, options
        self._model_revision, self._code_version = model_revision, code_version
        first: dict[str, Prompt] = {}
        for prompt in prompt_set.prompts:
            first.setdefault(prompt.prompt_id, prompt)
        unique = list(first.values())
        self._shards = [unique[start : start + shard_prompts] for start in range(0, len(unique), shard_prompts)]
        self._check_configuration(shard_prompts)
        for leftover in self.folder.glob(".*.tmp"):
            shutil.rmtree(leftover, ignore_errors=True)

    def missing(self) -> list[Prompt]:
        """Prompts without a result, in order: whole shards."""
        return [prompt for batch in self.batches() for prompt in batch]

    def batches(self) -> Iterator[list[Prompt]]:
        """Prompts without a result, a shard at a time: trace one batch, `add` its results, take the next."""
        for shard in self._shards:
            if not self._is_finished(shard):
                yield list(shard)

    def add(self, items: Sequence[AttributionGraph | Quarantined]) -> None:
        """Keep results, one or several whole shards of them. Raises ValueError for results that are no whole shards."""
        by_id = {item.prompt.prompt_id: item for item in items}
        whole = [shard for shard in self._shards if all(prompt.prompt_id in by_id for prompt in shard)]
        if sum(map(len, whole)) != len(by_id):
            raise ValueError(
                f"{len(by_id)} results are not whole shards; add the results of one batch of batches() together"
            )
        for shard in whole:
            self._write(shard, [by_id[prompt.prompt_id] for prompt in shard])

    def collect(self) -> Frames:
        """All four tables of raw_graphs, sorted by key. Raises `Incomplete` while prompts are missing."""
        missing = len(self.missing())
        if missing:
            raise Incomplete(
                f"{missing} prompts of {self._prompt_set.name!r} are not traced yet; run raw_graphs for it again"
            )
        frames: Frames = {}
        for table in TABLES:
            files = [self._path(shard) / f"{table.name}.parquet" for shard in self._shards]
            frames[table.name] = table.checked(
                pl.concat([pl.read_parquet(file) for file in files]) if files else table.empty()
            )
        return frames

    def discard(self) -> None:
        """Remove the folder: its content is published, or a fresh run is wanted."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, shard: Sequence[Prompt]) -> Path:
        return self.folder / content_hash([prompt.prompt_id for prompt in shard])[:16]

    def _write(self, shard: Sequence[Prompt], items: Sequence[AttributionGraph | Quarantined]) -> None:
        frames = graph_frames(
            items,
            prompt_set=self._prompt_set.name,
            kind=self._prompt_set.kind,
            code_version=self._code_version,
            model_revision=self._model_revision,
            options=self._options,
        )
        with staged_folder(self._path(shard)) as staging:
            hashes: dict[str, str] = {}
            for name, frame in frames.items():
                frame.write_parquet(staging / f"{name}.parquet", compression="zstd")
                hashes[name] = file_sha256(staging / f"{name}.parquet")
            content = {"prompts": [prompt.prompt_id for prompt in shard], "sha256": hashes}
            (staging / "shard.json").write_text(json.dumps(content), encoding="utf-8")

    def _is_finished(self, shard: Sequence[Prompt]) -> bool:
        """Whether a shard is there and its files are what was written; one that is damaged is removed."""
        path = self._path(shard)
        if not path.is_dir():
            return False
        try:
            content = cast("dict[str, dict[str, str]]", json.loads((path / "shard.json").read_text(encoding="utf-8")))
            is_sound = all(
                file_sha256(path / f"{table.name}.parquet") == content["sha256"][table.name] for table in TABLES
            )
        except (OSError, ValueError, KeyError, TypeError):
            is_sound = False
        if not is_sound:
            shutil.rmtree(path, ignore_errors=True)
        return is_sound

    def _check_configuration(self, shard_prompts: int) -> None:
        prompts = hashlib.sha256("".join(p.prompt_id for shard in self._shards for p in shard).encode()).hexdigest()
        current: dict[str, str] = {
            "model_revision": self._model_revision,
            "code_version": self._code_version,
            "prompt_set": f"{self._prompt_set.name} ({self._prompt_set.kind})",
            "prompts": prompts,
            "prompts per shard": str(shard_prompts),
            **{f"option {name}": json.dumps(value) for name, value in asdict(self._options).items()},
        }
        path = self.folder / "run.json"
        if not path.exists():
            write_atomically(path, json.dumps(current, indent=1))
            return
        begun = cast("Mapping[str, str]", json.loads(path.read_text(encoding="utf-8")))
        differences = [
            f"{name} was {begun.get(name, 'unset')}, is {current.get(name, 'unset')}"
            for name in sorted({*begun, *current})
            if begun.get(name) != current.get(name)
        ]
        if differences:
            raise ConfigurationChanged(
                f"the unfinished run in {self.folder} began with other settings: {'; '.join(differences)}. "
                "Go back to those settings to resume it, or remove that folder to begin afresh"
            )
