"""Statistics of a folder of graph files, of other tools or this one, in batches that are kept when a run is interrupted.

A batch of files becomes sums (`graph_stats`) and then, which marks it as complete, the rows of table `graphs`: both are published
below the work folder with the names, sizes and times of the files they were made of. The next run keeps every batch whose files
have not changed and reads the rest. Sums merge exactly, so neither the cut into batches nor where a run stopped changes the result.

A file that is no graph, repeats a prompt, is of another model than the first, or holds numbers that cannot be summed, is
quarantined with its reason. No graph file says which tokens are special: they are recognised by their text (`<bos>`, `[PAD]` …).
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import polars as pl

from neuron_atlas.adapters.graphs.graph_files import list_graph_files, quarantined_file, read_graphs
from neuron_atlas.adapters.tables.lake import Lake
from neuron_atlas.core.aggregation.graphs.edge_stats import edge_statistics
from neuron_atlas.core.aggregation.graphs.graph_stats import sum_graphs
from neuron_atlas.core.attribution.graph.tables import graph_frames
from neuron_atlas.core.hashing import content_hash
from neuron_atlas.core.records import AttributionGraph, Frames, Quarantined, Tables
from neuron_atlas.core.tables import EDGES, NODES
from neuron_atlas.errors import BadInput, DamagedData

PROMPT_SET, KIND = "folder", "domain"
"""The prompt set that a folder's graphs are counted under, and its kind."""

BATCH_BYTES = 2**28
"""Size of files after which a batch ends: some 3 million edges, so that memory does not depend on the files' number."""

_SPECIAL = re.compile(r"<\|.*\|>|</?s>|\[(CLS|SEP|PAD|MASK|UNK)\]|<(bos|eos|pad|unk|mask|start_of_turn|end_of_turn)>")

_Item = AttributionGraph | Quarantined
_FileState = tuple[str, int, int]
"""A file as it was when it was read: name, size in bytes (-1 where there is none), time of its last change in nanoseconds."""


@dataclass(frozen=True)
class FolderStatistics:
    """Tables of `edge_stats`, `set_sums`, `graphs` and `targets` of a folder; the model's name as the files have it (empty: none),
    and how many files earlier runs had read."""

    frames: Frames
    model_id: str
    n_resumed: int

    @property
    def quarantined(self) -> list[tuple[str, str]]:
        """File and reason of everything that was left out, by name."""
        rows = self.frames["graphs"].filter(pl.col("reason").is_not_null()).select("tags", "reason").iter_rows()
        return sorted((json.loads(tags)["file"], reason) for tags, reason in rows)


@dataclass(frozen=True)
class _Batch:
    """A batch that an earlier run published: its files as they were read, files of other batches whose prompts these repeat, the
    file of every prompt counted, the model's name."""

    files: tuple[_FileState, ...]
    repeated: tuple[_FileState, ...]
    prompts: Mapping[str, _FileState]
    model_id: str


def aggregate_folder(
    folder: Path,
    work: Path,
    *,
    batch_size: int = 100,
    max_graphs: int | None = None,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> FolderStatistics:
    """Aggregate the graphs of a folder, at most the first `max_graphs` files by name, going on from the batches in `work`.

    `progress(files done, files)` is called after every file. Raises `BadInput` for a folder without graph files or in which none
    is a graph, `TransientError` while another process works there.
    """
    files = list_graph_files(folder)[:max_graphs]
    lake = Lake(work)
    with lake.claim("graph_stats"):
        finished = _reusable_batches(lake, files)
        resumed = {name for batch in finished.values() for name, *_ in batch.files}
        prompts = {prompt: file for batch in finished.values() for prompt, file in batch.prompts.items()}
        model = next((batch.model_id for batch in finished.values() if batch.model_id), "")
        batches, done = list(finished), len(resumed)
        progress(done, len(files))
        for batch in _cut_into_batches([file for file in files if file.name not in resumed], batch_size):
            items: list[_Item] = []
            repeated: set[_FileState] = set()
            for file in batch:
                item, first = _read_file(file, prompts, model)
                items.append(item)
                if isinstance(item, AttributionGraph):
                    model = model or item.summary.model_id
                if first is not None:
                    repeated.add(first)
                progress(done := done + 1, len(files))
            facts = {
                "files": json.dumps([_file_state(file) for file in batch]),
                "repeated": json.dumps(sorted(repeated)),
                "model_id": model,
                "code_version": version("neuron_atlas"),
            }
            batches.append(_publish(lake, batch, items, facts))
        return _merged(folder, lake, batches, model, len(resumed))


def _read_file(file: Path, prompts: dict[str, _FileState], model: str) -> tuple[_Item, _FileState | None]:
    """A file's graph, its prompt added to `prompts`, or why it is quarantined; and the file whose prompt it repeats."""
    (item,) = read_graphs([file])
    if isinstance(item, Quarantined):
        return item, None
    own = item.summary.model_id
    if model and own and _model_name(own) != _model_name(model):
        return quarantined_file(file, f"of model {own}; the folder's first graph is of {model}"), None
    if (first := prompts.get(item.prompt.prompt_id)) is not None:
        return quarantined_file(file, f"the same prompt as {first[0]}"), first
    prompts[item.prompt.prompt_id] = _file_state(file)
    return item, None


def _merged(folder: Path, lake: Lake, batches: Sequence[str], model: str, resumed: int) -> FolderStatistics:
    """The statistics of all batches together."""
    raw, sums = lake.scan("raw_graphs", batches), lake.scan("graph_stats", batches)
    graphs, targets = raw["graphs"].sort("prompt_id").collect(), raw["targets"].sort("prompt_id", "node").collect()
    if graphs["reason"].null_count() == 0:
        raise BadInput(
            f"none of {graphs.height} files in {folder} is a graph that can be counted; one of the reasons: "
            f"{graphs['reason'][0]}"
        )
    stats = edge_statistics(_one_top_layer(sums), token_text=_token_texts(graphs, targets))
    set_sums = sums["set_sums"].group_by("prompt_set", "kind").sum().collect()
    return FolderStatistics({**stats, "set_sums": set_sums, "graphs": graphs, "targets": targets}, model, resumed)


def _reusable_batches(lake: Lake, files: Sequence[Path]) -> dict[str, _Batch]:
    """Finished batches, by name, whose files are all asked for and unchanged. A batch of which a file changed or is gone, or that
    another version of neuron_atlas made, is removed."""
    folder, wanted = files[0].parent, {file.name for file in files}
    kept: dict[str, _Batch] = {}
    claimed: set[str] = set()
    for name in lake.partitions("raw_graphs"):
        batch = _read_batch(lake, name)
        known = {*batch.files, *batch.repeated}
        own = {file for file, *_ in batch.files}
        if not batch.files or any(file != _file_state(folder / file[0]) for file in known):
            for asset in ("raw_graphs", "graph_stats"):
                shutil.rmtree(lake.folder(asset, name), ignore_errors=True)
        elif {file for file, *_ in known} <= wanted and not own & claimed:
            kept[name] = batch
            claimed |= own
    return kept


def _read_batch(lake: Lake, name: str) -> _Batch:
    """A batch as it was published; without files when another version of neuron_atlas made it."""
    manifest = lake.manifest("raw_graphs", name)
    facts = {} if manifest is None else manifest.provenance
    if facts.get("code_version") != version("neuron_atlas"):
        return _Batch((), (), {}, "")
    files, repeated = (
        tuple((str(file), int(size), int(time)) for file, size, time in json.loads(facts[key]))
        for key in ("files", "repeated")
    )
    by_name = {file[0]: file for file in files}
    traced = lake.scan("raw_graphs", [name])["graphs"].filter(pl.col("reason").is_null())
    rows = traced.select("prompt_id", "tags").collect().iter_rows()
    prompts = {prompt: by_name[json.loads(tags)["file"]] for prompt, tags in rows}
    return _Batch(files, repeated, prompts, facts["model_id"])


def _cut_into_batches(files: Sequence[Path], most: int) -> Iterator[list[Path]]:
    """Files in their order, at most `most` and about `BATCH_BYTES` at a time."""
    batch: list[Path] = []
    size = 0
    for file in files:
        if batch and (len(batch) == most or size > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(file)
        size += _file_state(file)[1]
    if batch:
        yield batch


def _publish(lake: Lake, batch: Sequence[Path], items: Sequence[_Item], facts: Mapping[str, str]) -> str:
    """Sum a batch and publish it; returns its name."""
    try:
        raw, sums = _batch_tables(batch, items)
    except DamagedData:
        items = [_or_quarantined(file, item) for file, item in zip(batch, items, strict=True)]
        raw, sums = _batch_tables(batch, items)
    name = f"batch-{content_hash(dict(facts))[:32]}"
    lake.publish("graph_stats", name, sums)
    lake.publish("raw_graphs", name, {**raw, "nodes": NODES.empty(), "edges": EDGES.empty()}, provenance=facts)
    return name


def _batch_tables(batch: Iterable[Path], items: Iterable[_Item]) -> tuple[Frames, Frames]:
    """A batch's tables of `raw_graphs` and of `graph_stats`. Raises `DamagedData` for a number that cannot be summed."""
    named = [
        replace(item, prompt=replace(item.prompt, tags={**item.prompt.tags, "file": file.name}))
        for file, item in zip(batch, items, strict=True)
    ]
    raw = graph_frames(named, prompt_set=PROMPT_SET, kind=KIND, code_version=version("neuron_atlas"))
    special = {i for i, text in _token_texts(raw["graphs"], raw["targets"]).items() if _SPECIAL.fullmatch(text.strip())}
    tables = {name: frame.lazy() for name, frame in raw.items()}
    return raw, sum_graphs(tables, prompt_set=PROMPT_SET, kind=KIND, special_ids=frozenset(special))


def _or_quarantined(file: Path, item: _Item) -> _Item:
    """The item, or why it is quarantined where its numbers cannot be summed."""
    try:
        _batch_tables([file], [item])
    except DamagedData as error:
        return quarantined_file(file, str(error))
    return item


def _model_name(model_id: str) -> str:
    """A model's name as it is compared: `google/Gemma-2-2b` and `gemma-2-2b` are the same."""
    return model_id.rstrip("/").rpartition("/")[2].lower()


def _one_top_layer(sums: Tables) -> dict[str, pl.LazyFrame]:
    """The sums with all logits in one layer, the highest: files that do not say how many layers the model has differ in it."""
    is_logit = pl.col("target_kind") == "logit"
    edges = sums["edge_sums"]
    top = edges.filter(is_logit).select(pl.col("target_layer").max()).collect().item()
    moved = pl.when(is_logit).then(pl.lit(top, pl.Int16)).otherwise("target_layer")
    return {**sums, "edge_sums": edges.with_columns(target_layer=moved)}


def _token_texts(graphs: pl.DataFrame, targets: pl.DataFrame) -> dict[int, str]:
    """Every token id that the files name, with its text."""
    read = graphs.drop_nulls("token_ids").select(pl.col("token_ids").explode(), pl.col("tokens").explode())
    pairs = pl.concat([read.rename({"token_ids": "token_id", "tokens": "token"}), targets.select("token_id", "token")])
    return dict(pairs.unique("token_id", keep="first", maintain_order=True).drop_nulls().iter_rows())


def _file_state(file: Path) -> _FileState:
    """The file as it is now."""
    try:
        status = file.stat()
    except OSError:
        return file.name, -1, 0
    return file.name, status.st_size, status.st_mtime_ns
