"""Statistics of a folder of graph files, of other tools or this one, in batches that survive an interruption.

A batch of files becomes sums (`graph_stats`) and, as their mark of completion, the rows of table `graphs`: published below the work
folder with the names, sizes and times of the files they were made of. The same command again keeps every batch whose files are
as they were and reads the rest. Sums merge exactly, so neither the cut of batches nor where a run stopped shows in the result.

A file that is no graph, repeats a prompt, is of another model than the first, or holds numbers no sum can, is set aside with
its reason. Which tokens are special no graph file says: they are known by their looks.
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

from neuron_atlas.adapters.graphs.neuronpedia_json import graph_files, read_graphs, set_aside
from neuron_atlas.adapters.tables.lake import Lake
from neuron_atlas.core.aggregation.graphs.edge_stats import profile
from neuron_atlas.core.aggregation.graphs.graph_stats import summarize
from neuron_atlas.core.attribution.graph.tables import graph_frames
from neuron_atlas.core.hashing import content_hash
from neuron_atlas.core.records import AttributionGraph, Frames, Quarantined, Tables
from neuron_atlas.core.tables import EDGES, NODES
from neuron_atlas.errors import BadInput, DamagedData

PROMPT_SET, KIND = "folder", "domain"
"""How a folder's graphs are counted."""

BATCH_BYTES = 2**28
"""Size of files after which a batch ends: some 3 million edges, so that memory does not depend on the files' number."""

_SPECIAL = re.compile(r"<\|.*\|>|</?s>|\[(CLS|SEP|PAD|MASK|UNK)\]|<(bos|eos|pad|unk|mask|start_of_turn|end_of_turn)>")

_Item = AttributionGraph | Quarantined
_Version = tuple[str, int, int]
"""A file as it was when it was read: name, size in bytes (-1 where there is none), time of its last change in nanoseconds."""


@dataclass(frozen=True)
class FolderSums:
    """Tables of `edge_stats`, `set_sums`, and `graphs` and `targets` without their nodes; the model's name as the files have it
    (or none), and how many files were read before this run."""

    frames: Frames
    model_id: str
    n_resumed: int

    @property
    def set_aside(self) -> list[tuple[str, str]]:
        """File and reason."""
        rows = self.frames["graphs"].filter(pl.col("reason").is_not_null()).select("tags", "reason").iter_rows()
        return sorted((json.loads(tags)["file"], reason) for tags, reason in rows)


@dataclass(frozen=True)
class _Finished:
    """What earlier batches say: files as they were read, files whose prompts these repeat, prompts counted, the model's name."""

    files: tuple[_Version, ...]
    repeated: tuple[_Version, ...]
    prompts: Mapping[str, _Version]
    model_id: str


def sum_folder(
    folder: Path,
    work: Path,
    *,
    batch_size: int = 100,
    max_graphs: int | None = None,
    listener: Callable[[int, int], None] = lambda done, of: None,
) -> FolderSums:
    """Sum the graphs of a folder, at most the first `max_graphs` files by name, going on from what lies in `work`.

    `listener` hears (files done, files). Raises `BadInput` for a folder without graph files or in which none is a graph,
    `TransientError` while another process works there.
    """
    files = graph_files(folder)[:max_graphs]
    lake = Lake(work)
    with lake.claim("graph_stats"):
        finished = _kept(lake, files)
        resumed = {name for batch in finished.values() for name, *_ in batch.files}
        prompts = {prompt: file for batch in finished.values() for prompt, file in batch.prompts.items()}
        model = next((batch.model_id for batch in finished.values() if batch.model_id), "")
        batches, done = list(finished), len(resumed)
        listener(done, len(files))
        for batch in _batches([file for file in files if file.name not in resumed], batch_size):
            items: list[_Item] = []
            repeated: set[_Version] = set()
            for file in batch:
                item, first = _counted(file, prompts, model)
                items.append(item)
                if isinstance(item, AttributionGraph):
                    model = model or item.summary.model_id
                if first is not None:
                    repeated.add(first)
                listener(done := done + 1, len(files))
            facts = {
                "files": json.dumps([_version(file) for file in batch]),
                "repeated": json.dumps(sorted(repeated)),
                "model_id": model,
                "code_version": version("neuron_atlas"),
            }
            batches.append(_publish(lake, batch, items, facts))
        return _result(folder, lake, batches, model, len(resumed))


def _counted(file: Path, prompts: dict[str, _Version], model: str) -> tuple[_Item, _Version | None]:
    """A file's graph, its prompt added to `prompts`, or why it is set aside; and the file whose prompt it repeats."""
    (item,) = read_graphs([file])
    if isinstance(item, Quarantined):
        return item, None
    own = item.summary.model_id
    if model and own and _plain(own) != _plain(model):
        return set_aside(file, f"of model {own}; the folder's first graph is of {model}"), None
    if (first := prompts.get(item.prompt.prompt_id)) is not None:
        return set_aside(file, f"the same prompt as {first[0]}"), first
    prompts[item.prompt.prompt_id] = _version(file)
    return item, None


def _result(folder: Path, lake: Lake, batches: Sequence[str], model: str, resumed: int) -> FolderSums:
    """The statistics of all batches together."""
    raw, sums = lake.scan("raw_graphs", batches), lake.scan("graph_stats", batches)
    graphs, targets = raw["graphs"].sort("prompt_id").collect(), raw["targets"].sort("prompt_id", "node").collect()
    if graphs["reason"].null_count() == 0:
        raise BadInput(
            f"none of {graphs.height} files in {folder} is a graph; one is set aside as: {graphs['reason'][0]}"
        )
    stats = profile(_one_top_layer(sums), token_text=_texts(graphs, targets))
    set_sums = sums["set_sums"].group_by("prompt_set", "kind").sum().collect()
    return FolderSums({**stats, "set_sums": set_sums, "graphs": graphs, "targets": targets}, model, resumed)


def _kept(lake: Lake, files: Sequence[Path]) -> dict[str, _Finished]:
    """Finished batches, by name, whose files are all wanted and as they were; those of files that changed or went, or of
    another version of neuron_atlas, are removed."""
    folder, wanted = files[0].parent, {file.name for file in files}
    kept: dict[str, _Finished] = {}
    claimed: set[str] = set()
    for name in lake.partitions("raw_graphs"):
        batch = _finished(lake, name)
        known = {*batch.files, *batch.repeated}
        own = {file for file, *_ in batch.files}
        if not batch.files or any(file != _version(folder / file[0]) for file in known):
            for asset in ("raw_graphs", "graph_stats"):
                shutil.rmtree(lake.folder(asset, name), ignore_errors=True)
        elif {file for file, *_ in known} <= wanted and not own & claimed:
            kept[name] = batch
            claimed |= own
    return kept


def _finished(lake: Lake, name: str) -> _Finished:
    """A batch as it was published; without files when another version of neuron_atlas made it."""
    manifest = lake.manifest("raw_graphs", name)
    facts = {} if manifest is None else manifest.provenance
    if facts.get("code_version") != version("neuron_atlas"):
        return _Finished((), (), {}, "")
    files, repeated = (
        tuple((str(file), int(size), int(time)) for file, size, time in json.loads(facts[key]))
        for key in ("files", "repeated")
    )
    by_name = {file[0]: file for file in files}
    traced = lake.scan("raw_graphs", [name])["graphs"].filter(pl.col("reason").is_null())
    rows = traced.select("prompt_id", "tags").collect().iter_rows()
    prompts = {prompt: by_name[json.loads(tags)["file"]] for prompt, tags in rows}
    return _Finished(files, repeated, prompts, facts["model_id"])


def _batches(files: Sequence[Path], most: int) -> Iterator[list[Path]]:
    """Files in their order, at most `most` and about `BATCH_BYTES` at a time."""
    batch: list[Path] = []
    size = 0
    for file in files:
        if batch and (len(batch) == most or size > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(file)
        size += _version(file)[1]
    if batch:
        yield batch


def _publish(lake: Lake, batch: Sequence[Path], items: Sequence[_Item], facts: Mapping[str, str]) -> str:
    """Sum a batch and put it away; returns its name."""
    try:
        raw, sums = _summed(batch, items)
    except DamagedData:
        items = [_summable(file, item) for file, item in zip(batch, items, strict=True)]
        raw, sums = _summed(batch, items)
    name = f"batch-{content_hash(dict(facts))[:32]}"
    lake.publish("graph_stats", name, sums)
    lake.publish("raw_graphs", name, {**raw, "nodes": NODES.empty(), "edges": EDGES.empty()}, provenance=facts)
    return name


def _summed(batch: Iterable[Path], items: Iterable[_Item]) -> tuple[Frames, Frames]:
    """The tables of `raw_graphs` and of `graph_stats`. Raises `DamagedData` where a number fits no sum."""
    named = [
        replace(item, prompt=replace(item.prompt, tags={**item.prompt.tags, "file": file.name}))
        for file, item in zip(batch, items, strict=True)
    ]
    raw = graph_frames(named, prompt_set=PROMPT_SET, kind=KIND, code_version=version("neuron_atlas"))
    special = {i for i, text in _texts(raw["graphs"], raw["targets"]).items() if _SPECIAL.fullmatch(text.strip())}
    tables = {name: frame.lazy() for name, frame in raw.items()}
    return raw, summarize(tables, prompt_set=PROMPT_SET, kind=KIND, special_ids=frozenset(special))


def _summable(file: Path, item: _Item) -> _Item:
    """The item, unless its numbers fit no sum."""
    try:
        _summed([file], [item])
    except DamagedData as error:
        return set_aside(file, str(error))
    return item


def _plain(model_id: str) -> str:
    """`google/Gemma-2-2b` and `gemma-2-2b` are the same model."""
    return model_id.rstrip("/").rpartition("/")[2].lower()


def _one_top_layer(sums: Tables) -> dict[str, pl.LazyFrame]:
    """The sums with all logits in one layer, the highest: files that do not say how many layers the model has differ in it."""
    is_logit = pl.col("target_kind") == "logit"
    edges = sums["edge_sums"]
    top = edges.filter(is_logit).select(pl.col("target_layer").max()).collect().item()
    moved = pl.when(is_logit).then(pl.lit(top, pl.Int16)).otherwise("target_layer")
    return {**sums, "edge_sums": edges.with_columns(target_layer=moved)}


def _texts(graphs: pl.DataFrame, targets: pl.DataFrame) -> dict[int, str]:
    """Every token id that the files name, with its text."""
    read = graphs.drop_nulls("token_ids").select(pl.col("token_ids").explode(), pl.col("tokens").explode())
    pairs = pl.concat([read.rename({"token_ids": "token_id", "tokens": "token"}), targets.select("token_id", "token")])
    return dict(pairs.unique("token_id", keep="first", maintain_order=True).drop_nulls().iter_rows())


def _version(file: Path) -> _Version:
    """The file as it is now."""
    try:
        status = file.stat()
    except OSError:
        return file.name, -1, 0
    return file.name, status.st_size, status.st_mtime_ns
