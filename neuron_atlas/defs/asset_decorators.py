"""What every asset does around its one call into the core.

    @dg.asset(ins=…, check_specs=checks_of("edge_stats"), …)
    @stored_asset
    def edge_stats(graph_stats: Tables) -> Frames:
        return edge_statistics(graph_stats, token_text=...)

`stored_asset` turns such a function into the generator that Dagster runs. It translates errors, holds the result against the
table declarations and the asset's checks *before* anything is stored (a blocking check that fails after a materialization would
not keep the next layer from starting), and hands the checked frames to the IO manager together with their provenance,
the numbers and plots for the UI, and a data version that is the hash of the content.

`published_asset` does the same for assets that write their outcome themselves: the atlas file and the search database.
"""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Concatenate, ParamSpec, get_type_hints

import dagster as dg

from neuron_atlas.core.records import Frames
from neuron_atlas.core.tables.storage import CheckedFrames, check_frames
from neuron_atlas.defs.checks.before_storing import CHECKS
from neuron_atlas.defs.failures import dagster_failures
from neuron_atlas.defs.io_managers import PROVENANCE
from neuron_atlas.defs.metadata.asset_metadata import asset_metadata
from neuron_atlas.defs.storage.provenance import LoadedTables, build_provenance, resource_fingerprints
from neuron_atlas.defs.storage.stores import StoredPartition

P = ParamSpec("P")
Events = Iterator[object]
"""What Dagster runs yields: check results, then the output or the materialization."""


def stored_asset(body: Callable[Concatenate[dg.AssetExecutionContext, P], Frames]) -> Callable[..., Events]:
    """An asset whose tables an IO manager stores. `body` takes the context first and returns the asset's frames."""

    @functools.wraps(body)
    def run(context: dg.AssetExecutionContext, *args: P.args, **kwargs: P.kwargs) -> Events:
        asset = context.asset_key.path[-1]
        inputs = [value for value in (*args, *kwargs.values()) if isinstance(value, LoadedTables)]
        with dagster_failures():
            frames = check_frames(asset, body(context, *args, **kwargs))
        yield from _check_results(asset, frames, inputs)
        metadata = {
            **asset_metadata(asset, frames),
            PROVENANCE: dg.MetadataValue.json(_provenance(context, inputs)),
        }
        with _beta_warnings_ignored():
            output = dg.Output(frames, metadata=metadata, data_version=dg.DataVersion(frames.content_hash))
        yield output

    return _as_generator(run, body)


@dataclass(frozen=True)
class PublishedContent:
    """What an asset wrote by itself: hash of the content, rows per table, where it is, and what the UI should show."""

    content_hash: str
    rows: dict[str, int]
    location: str
    metadata: dict[str, dg.MetadataValue]


def published_asset(
    body: Callable[Concatenate[dg.AssetExecutionContext, P], PublishedContent],
) -> Callable[..., Events]:
    """An asset that stores its outcome itself. `body` takes the context first; the record is kept by resource `published`."""

    @functools.wraps(body)
    def run(context: dg.AssetExecutionContext, *args: P.args, **kwargs: P.kwargs) -> Events:
        asset = context.asset_key.path[-1]
        inputs = [value for value in (*args, *kwargs.values()) if isinstance(value, LoadedTables)]
        with dagster_failures():
            content = body(context, *args, **kwargs)
            stored = StoredPartition(content.content_hash, content.rows, content.location, _provenance(context, inputs))
            context.resources.published.store().record(asset, stored)
        metadata = {
            **content.metadata,
            "location": dg.MetadataValue.path(content.location),
            "dagster/row_count": sum(content.rows.values()),
            PROVENANCE: dg.MetadataValue.json(dict(stored.provenance)),
        }
        with _beta_warnings_ignored():
            result = dg.MaterializeResult(metadata=metadata, data_version=dg.DataVersion(content.content_hash))
        yield result

    return _as_generator(run, body)


@contextmanager
def _beta_warnings_ignored() -> Iterator[None]:
    """Dagster warns that data versions are beta each time one is made. Its version is pinned exactly, so that is known."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        yield


def _check_results(asset: str, frames: CheckedFrames, inputs: Iterable[LoadedTables]) -> Iterator[dg.AssetCheckResult]:
    """Every check's result; raises `dagster.Failure` after the last one when a blocking check failed."""
    read = {name: table for loaded in inputs for name, table in loaded.items()}
    failed: list[str] = []
    for check in CHECKS[asset]:
        result = check.result(asset, frames, read)
        yield result
        if check.is_blocking and not result.passed:
            failed.append(f"{check.name}: {result.description}")
    if failed:
        raise dg.Failure(f"{asset} was not stored: {'; '.join(failed)}", allow_retries=False)


def _provenance(context: dg.AssetExecutionContext, inputs: Iterable[LoadedTables]) -> dict[str, str]:
    """What this run makes its partition from."""
    definition = context.assets_def
    partition = context.partition_key if context.has_partition_key else None
    return build_provenance(
        code_version=definition.code_versions_by_key[context.asset_key] or "",
        fingerprints=resource_fingerprints(context.resources._asdict(), definition.required_resource_keys, partition),
        sources=[loaded.sources for loaded in inputs],
    )


def _as_generator(run: Callable[..., Events], body: Callable[..., object]) -> Callable[..., Events]:
    """Show Dagster the body's parameters with their types, but not its return type: what runs yields events."""
    types = {name: kind for name, kind in get_type_hints(body).items() if name != "return"}
    shown = inspect.signature(body)
    parameters = [p.replace(annotation=types.get(name, p.empty)) for name, p in shown.parameters.items()]
    run.__signature__ = shown.replace(parameters=parameters, return_annotation=shown.empty)  # pyright: ignore[reportFunctionMemberAccess]
    run.__annotations__ = types
    return run
