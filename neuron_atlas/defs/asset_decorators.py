"""What every asset does around its one call into the core.

    @dg.asset(ins=…, check_specs=checks_of("edge_stats"), …)
    @doorway
    def edge_stats(graph_stats: Tables) -> Frames:
        return profile(graph_stats, token_text=...)

`doorway` turns such a function into the generator Dagster runs: it translates errors, holds the result against the table
declarations and the asset's checks *before* anything is stored (a blocking check that fails after a materialization would
not keep the next layer from starting), and hands the frames to the IO manager together with the recipe they were made
from, the numbers and plots for the UI, and a data version that is the hash of the content.

`publication` does the same for assets that write their outcome themselves: the atlas file and the search database.
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

from neuron_atlas.core.hashing import frames_hash
from neuron_atlas.core.records import Frames
from neuron_atlas.core.tables import tables_of
from neuron_atlas.defs.checks.before_storing import CHECKS
from neuron_atlas.defs.failures import at_the_door
from neuron_atlas.defs.io_managers import RECIPE
from neuron_atlas.defs.metadata.asset_metadata import describe
from neuron_atlas.defs.storage.provenance import Loaded, identities, recipe
from neuron_atlas.defs.storage.stores import Stored

P = ParamSpec("P")
Events = Iterator[object]
"""What Dagster runs yields: check results, then the output or the materialization."""


def doorway(body: Callable[Concatenate[dg.AssetExecutionContext, P], Frames]) -> Callable[..., Events]:
    """An asset whose tables an IO manager stores. `body` takes the context first and returns the asset's frames."""

    @functools.wraps(body)
    def run(context: dg.AssetExecutionContext, *args: P.args, **kwargs: P.kwargs) -> Events:
        asset = context.asset_key.path[-1]
        inputs = [value for value in (*args, *kwargs.values()) if isinstance(value, Loaded)]
        with at_the_door():
            made = body(context, *args, **kwargs)
            frames = {table.name: table.checked(made[table.name]) for table in tables_of(asset)}
        yield from _checked(asset, frames, inputs)
        metadata = {**describe(asset, frames), RECIPE: dg.MetadataValue.json(_recipe(context, inputs))}
        with _beta():
            made_output = dg.Output(frames, metadata=metadata, data_version=dg.DataVersion(frames_hash(frames)))
        yield made_output

    return _as_generator(run, body)


@dataclass(frozen=True)
class Publication:
    """What an asset wrote by itself: hash of the content, rows per table, where it lies, and what the UI should show."""

    content_hash: str
    rows: dict[str, int]
    place: str
    metadata: dict[str, dg.MetadataValue]


def publication(
    body: Callable[Concatenate[dg.AssetExecutionContext, P], Publication],
) -> Callable[..., Events]:
    """An asset that stores its outcome itself. `body` takes the context first; the record is kept by resource `published`."""

    @functools.wraps(body)
    def run(context: dg.AssetExecutionContext, *args: P.args, **kwargs: P.kwargs) -> Events:
        asset = context.asset_key.path[-1]
        inputs = [value for value in (*args, *kwargs.values()) if isinstance(value, Loaded)]
        with at_the_door():
            made = body(context, *args, **kwargs)
            stored = Stored(made.content_hash, made.rows, made.place, _recipe(context, inputs))
            context.resources.published.store().record(asset, stored)
        metadata = {
            **made.metadata,
            "place": dg.MetadataValue.path(made.place),
            "dagster/row_count": sum(made.rows.values()),
            RECIPE: dg.MetadataValue.json(dict(stored.recipe)),
        }
        with _beta():
            result = dg.MaterializeResult(metadata=metadata, data_version=dg.DataVersion(made.content_hash))
        yield result

    return _as_generator(run, body)


@contextmanager
def _beta() -> Iterator[None]:
    """Dagster calls data versions beta with every use; the version is pinned, so once is enough: here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        yield


def _checked(asset: str, frames: Frames, inputs: Iterable[Loaded]) -> Iterator[dg.AssetCheckResult]:
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


def _recipe(context: dg.AssetExecutionContext, inputs: Iterable[Loaded]) -> dict[str, str]:
    """What this run makes its partition from."""
    definition = context.assets_def
    partition = context.partition_key if context.has_partition_key else None
    return recipe(
        code_version=definition.code_versions_by_key[context.asset_key] or "",
        ingredients=identities(context.resources._asdict(), definition.required_resource_keys, partition),
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
