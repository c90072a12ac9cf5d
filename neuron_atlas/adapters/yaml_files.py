"""Files that people write by hand: read as text, parsed as YAML, held against a pydantic model that says their form.

Every mistake raises `BadInput` with the file, the place in it, and what was expected there; of an unknown key it says which keys
are known.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from neuron_atlas.errors import BadInput

Form = TypeVar("Form", bound=BaseModel)


def read_text(path: Path, *, max_bytes: int, advice: str = "") -> str:
    """The text of a UTF-8 file of at most `max_bytes`; `advice` says what to do about a larger one."""
    try:
        size = path.stat().st_size
        if size > max_bytes:
            raise BadInput(f"{path} has {size:,} bytes; at most {max_bytes:,}{advice}")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not UTF-8: {error.reason} at byte {error.start}") from error


def parse_yaml(path: Path, text: str) -> object:
    """The content of a YAML text; `path` names it in the error."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise BadInput(f"{path} is not YAML: {' '.join(str(error).split())}") from error


def validate_content(path: Path, content: object, form: type[Form]) -> Form:
    """The content of a file in its declared form; the error names the first place that does not fit."""
    try:
        return form.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        known = _known_keys(form, first["loc"]) if first["type"] == "extra_forbidden" else ""
        raise BadInput(f"{path}: {where}: {first['msg']}{known} ({error.error_count()} problem(s) in all)") from error


def _known_keys(form: type[BaseModel], place: tuple[int | str, ...]) -> str:
    """`; known are …`: the keys of the part of the file in which `place` is."""
    for part in place[:-1]:
        field = form.model_fields.get(str(part))
        form = _model_in(field.annotation) or form if field is not None else form
    return f"; known are {', '.join(form.model_fields)}"


def _model_in(annotation: object) -> type[BaseModel] | None:
    """The pydantic model in a type such as `tuple[_Task, ...]`; None where there is none."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_in(part)) is not None), None)
