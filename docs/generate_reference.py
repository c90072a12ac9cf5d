"""Write the reference pages below docs/reference from the code: command line, tables, settings, Python.

    python docs/generate_reference.py            renew the pages (`make docs` does it too)
    python docs/generate_reference.py --check    say which pages are stale and change nothing; exit code 1 when some are

The pages depend on the code alone: not on the date, the machine, the width of the terminal, the environment or a `.env` file.
neuron_atlas_tests/docs/test_reference.py fails when a page is stale. Prose belongs in the other pages of docs/, and what a page
here says belongs in the code: a command's help, a table's declaration, a setting's description, a docstring.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import UnionType
from typing import Literal, Union, get_args, get_origin

import click
import polars as pl
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from python_reference import python_page
from reference_markdown import cell, code, fenced, prose, slug, table

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "docs" / "reference"
COMMAND = "python docs/generate_reference.py"


# ------------------------------------------------------------------------------------------------------------ command line
def cli_page() -> str:
    """Every command: usage, what it does, options, examples."""
    from neuron_atlas.cli import main

    context = click.Context(main, info_name="neuron-atlas")
    commands = {name: main.get_command(context, name) for name in main.list_commands(context)}
    index = [f"- [`neuron-atlas {name}`](#neuron-atlas-{name}): {_summary(c)}" for name, c in commands.items() if c]
    parts = [prose(_unmarked(main.help or "")), "\n".join(index)]
    for name, command in commands.items():
        if command is not None:
            parts += _command(command, f"neuron-atlas {name}", context)
    return _page("Command line", parts)


def _command(command: click.Command, name: str, parent: click.Context) -> Iterator[str]:
    context = click.Context(command, info_name=name.rsplit(" ", 1)[-1], parent=parent)
    yield f"## {name}"
    yield fenced(" ".join([name, *command.collect_usage_pieces(context)]))
    yield prose(_unmarked(command.help or ""))
    records = [p.get_help_record(context) for p in command.get_params(context) if "--help" not in p.opts]
    rows = [(code(record[0]), cell(record[1])) for record in records if record and record[1]]
    if rows:
        yield table(("option", "meaning"), rows)
    if command.epilog:
        yield from _epilog(command.epilog)
    if isinstance(command, click.Group):
        for sub in command.list_commands(context):
            found = command.get_command(context, sub)
            if found is not None:
                yield from _command(found, f"{name} {sub}", context)


def _epilog(text: str) -> Iterator[str]:
    """Blocks that click is told not to wrap (`\\b`) are code; the heading over them stays a line of text."""
    for block in text.strip().split("\n\n"):
        head, mark, body = block.strip().partition("\b\n")
        if mark:
            yield fenced("\n".join(line.removeprefix("  ").rstrip() for line in body.splitlines()))
        elif head:
            yield prose(head)


def _unmarked(text: str) -> str:
    return text.replace("\b\n", "")


def _summary(command: click.Command) -> str:
    text = command.help or ""
    return prose(" ".join(text.strip().split("\n\n")[0].split()))


# ------------------------------------------------------------------------------------------------------------------ tables
STORES = {
    "lake": "Parquet files of the lake",
    "duckdb": "the working DuckDB file `tables.duckdb`",
    "postgres": "PostgreSQL",
    "published": "a store of its own",
}
KINDS = {None: "not partitioned", "prompt_set": "a partition per prompt set", "corpus": "a partition per corpus"}


def tables_page() -> str:
    """Every asset with the tables it stores, then what the atlas file and the search database hold."""
    from neuron_atlas import demo
    from neuron_atlas.core.tables import ASSETS, QUANTILE_LEVELS
    from neuron_atlas.defs.asset_registry import ASSET_REGISTRY
    from neuron_atlas.defs.assets import build_assets
    from neuron_atlas.defs.partitions import read_partitions
    from neuron_atlas.settings import Settings

    settings = Settings.model_construct(model=str(demo.MODEL_DIR), prompts=demo.PROMPTS_DIR, corpora=demo.CORPUS_DIR)
    specs = {spec.key.path[-1]: spec for asset in build_assets(read_partitions(settings)) for spec in asset.specs}
    parts = [
        "Each table is declared once, in `neuron_atlas/core/tables/`; storage, asset checks and this page read the "
        "declarations. An asset stores its tables together, a partition at a time. A column marked *may be missing* may hold "
        "nulls; no other may.",
        prose(_shared_words()),
        table(
            ("stage", "asset", "tables"),
            [
                (
                    str(spec.group_name),
                    f"[`{name}`](#{slug(name)})",
                    _links(name, [t.name for t in ASSETS.get(name, ())]),
                )
                for name, spec in specs.items()
            ],
        ),
    ]
    for name, spec in specs.items():
        entry = ASSET_REGISTRY[name]
        kind = KINDS.get(entry.partitioned_by, f"a partition per {entry.partitioned_by}")
        parts += [f"## {name}", f"*Stage {spec.group_name}; {kind}; stored in {STORES[entry.store]}.*"]
        parts += [prose(spec.description or "")]
        for declared in ASSETS.get(name, ()):
            parts += [f"### {name}: {declared.name}", prose(declared.meaning), f"Key: {_names(declared.key)}"]
            rows = [
                (code(c.name), _polars_type(c.dtype), cell(c.meaning) + (" *(may be missing)*" if c.optional else ""))
                for c in declared.columns
            ]
            parts += [table(("column", "type", "meaning"), rows)]
            if declared.name == "activation_stats":
                parts += [f"QUANTILE_LEVELS: {', '.join(f'{level:.7g}' for level in QUANTILE_LEVELS)}."]
    return _page("Tables", [*parts, *_atlas_file(), *_neuron_db()])


def _shared_words() -> str:
    import neuron_atlas.core.tables as declared

    blocks = (declared.__doc__ or "").split("\n\n")
    return next((b for b in blocks if b.strip().startswith("Shared")), "")


def _links(asset: str, names: list[str]) -> str:
    return ", ".join(f"[`{name}`](#{slug(f'{asset}: {name}')})" for name in names) or "see below"


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(code(name) for name in names) + "."


def _polars_type(dtype: pl.DataType) -> str:
    return f"list of {_polars_type(dtype.inner)}" if isinstance(dtype, pl.List) else str(dtype)


def _atlas_file() -> Iterator[str]:
    """The atlas's tables: copies under their names, and those that the build derives, from an atlas built of empty tables."""
    from neuron_atlas.adapters.atlas_duckdb.build import build_atlas
    from neuron_atlas.adapters.atlas_duckdb.reader import open_atlas
    from neuron_atlas.adapters.atlas_duckdb.schema import PUBLISHED, REQUIRED
    from neuron_atlas.core.tables import ASSETS

    yield "## The atlas file"
    yield (
        "One DuckDB file, `neuron_atlas.duckdb` in the atlas's home, with the tables below. "
        '`neuron-atlas query --sql "DESCRIBE neurons"` shows them too.'
    )
    owner = {t.name: asset for asset, tables in ASSETS.items() for t in tables}
    rows = [(code(name), f"[`{t.name}`](#{slug(f'{owner[t.name]}: {t.name}')})") for name, t in PUBLISHED.items()]
    yield "### Tables taken over"
    yield table(("in the atlas", "declared as"), rows)
    yield "### Tables derived by the build"
    yield "Made by SQL in `neuron_atlas/adapters/sql/atlas/build/`, or by the build itself (metadata, search index)."
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "empty.duckdb"
        build_atlas(path, {PUBLISHED[name].name: PUBLISHED[name].empty().lazy() for name in REQUIRED}, facts={})
        with open_atlas(path) as atlas:
            columns = atlas.sql(
                "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE database_name = 'atlas' "
                "ORDER BY table_name, column_index"
            )
    for (name,), frame in columns.group_by("table_name", maintain_order=True):
        if name not in PUBLISHED:
            yield f"#### {name}"
            if meaning := _leading_comment(str(name)):
                yield prose(meaning)
            yield table(("column", "type"), [(code(c), t) for c, t in frame.select("column_name", "data_type").rows()])


def _leading_comment(name: str) -> str:
    path = ROOT / "neuron_atlas" / "adapters" / "sql" / "atlas" / "build" / f"{name}.sql"
    if not path.exists():
        return ""
    lines = path.read_text().splitlines()
    return " ".join(
        line.removeprefix("--").strip() for line in lines[: next(i for i, x in enumerate(lines) if x[:2] != "--")]
    )


def _neuron_db() -> Iterator[str]:
    yield "## The search database"
    yield (
        "Schema `neuron_db` in PostgreSQL with pgvector, made by the numbered files of "
        "`neuron_atlas/adapters/sql/neuron_db/`, in order."
    )
    for path in sorted((ROOT / "neuron_atlas" / "adapters" / "sql" / "neuron_db").glob("*.sql")):
        yield f"### {path.name}"
        yield fenced(path.read_text().rstrip(), "sql")


# ---------------------------------------------------------------------------------------------------------------- settings
def settings_page() -> str:
    """Every environment variable: type, default, meaning."""
    from neuron_atlas.settings import Settings

    rows = [
        (code(_variable(name, field)), _setting_type(field), _default(field), cell(field.description or ""))
        for name, field in Settings.model_fields.items()
    ]
    rows.append(
        (
            code("DAGSTER_HOME"),
            "path",
            "`<home>/dagster`",
            "Dagster's own folder: runs, events, schedules. Set it to an absolute path to share an instance.",
        )
    )
    unclear = [row[0] for row in rows if not row[3]]
    if unclear:
        raise SystemExit(f"neuron_atlas/settings.py says nothing of {', '.join(unclear)}: give each a description")
    return _page(
        "Settings",
        [
            "Settings are environment variables, or lines `NAME=value` in a file `.env` of the folder where a command runs; the "
            "environment wins. `.env.example` is such a file with every name. They are declared in "
            "`neuron_atlas/settings.py`, which alone reads them. An empty value counts as unset.",
            table(("variable", "type", "default", "meaning"), rows),
        ],
    )


def _variable(name: str, field: FieldInfo) -> str:
    return f"NEURON_ATLAS_{name.upper()}" if field.validation_alias is None else name.upper()


def _setting_type(field: FieldInfo) -> str:
    kinds = [_kind(part) for part in _union(field.annotation) if part is not type(None)]
    bounds = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    said = [f"{word} {getattr(m, key)}" for m in field.metadata for key, word in bounds.items() if hasattr(m, key)]
    pattern = [f"matching {code(m.pattern)}" for m in field.metadata if getattr(m, "pattern", None)]
    return ", ".join([*kinds, *said, *pattern])


def _union(annotation: object) -> tuple[object, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


def _kind(annotation: object) -> str:
    if get_origin(annotation) is Literal:
        return " or ".join(code(str(value)) for value in get_args(annotation))
    names = {
        Path: "path",
        str: "text",
        int: "whole number",
        float: "number",
        SecretStr: "secret text",
        bool: "true or false",
    }
    return names[annotation]  # pyright: ignore[reportArgumentType]: a new type of setting wants a word here


def _default(field: FieldInfo) -> str:
    value = field.default.get_secret_value() if isinstance(field.default, SecretStr) else field.default
    if value is None or value == "":
        return "unset"
    return code(str(value).removeprefix(f"{ROOT}/"))


# -------------------------------------------------------------------------------------------------------------------- main
def _page(title: str, parts: list[str]) -> str:
    note = f"<!-- Generated by `{COMMAND}`; change the code it reads, not this file. -->"
    return "\n\n".join([f"# {title}", note, *(part.rstrip() for part in parts if part.strip())]) + "\n"


def pages() -> dict[Path, str]:
    """The text of every reference page, by its path."""
    makers: dict[str, Callable[[], str]] = {
        "cli.md": cli_page,
        "tables.md": tables_page,
        "settings.md": settings_page,
        "python.md": lambda: _page("Python", python_page()),
    }
    return {REFERENCE / name: make() for name, make in makers.items()}


def stale(made: dict[Path, str]) -> list[str]:
    """The pages whose file differs from what the code says now, as paths from the project's root."""
    return [str(path.relative_to(ROOT)) for path, text in made.items() if not path.exists() or path.read_text() != text]


def main() -> int:
    made = pages()
    old = stale(made)
    if "--check" in sys.argv[1:]:
        if old:
            print(f"stale: {', '.join(old)}. Renew them with: {COMMAND}", file=sys.stderr)
        return bool(old)
    REFERENCE.mkdir(exist_ok=True)
    for path, text in made.items():
        path.write_text(text)
    print(f"renewed: {', '.join(old)}" if old else "the reference pages are up to date")
    return 0


if __name__ == "__main__":
    sys.exit(main())
