"""Every error that neuron_atlas raises on purpose, as one tree.

    AtlasError
    ├── UserError          a mistake to correct: wrong name, folder, flag or value; never retried
    │   ├── UnknownName        a prompt set, model, neuron, table … that does not exist (names those that exist)
    │   ├── BadInput           a file or value that cannot be read as what it should be
    │   ├── UnsupportedModel   an architecture without an adapter, or weights in an unsafe format
    │   └── ConfigurationChanged   a resumed run whose settings differ from the ones it began with
    ├── PermanentError     retrying cannot help: damaged data, a violated invariant, a refused request
    │   ├── DamagedData        a checksum, schema or conservation check that failed
    │   └── Incomplete         something upstream is missing; says what to run first
    └── TransientError     a temporary failure: connection lost, rate limit, lock held; may be retried
        └── Unreachable        a server that does not answer

Every message says what was expected, what came, and what to do next. Only `TransientError` is ever retried.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class AtlasError(Exception):
    """The root: everything neuron_atlas raises on purpose."""


class UserError(AtlasError):
    """A mistake the caller can correct."""


class UnknownName(UserError):
    """A name that does not exist among those that do."""

    def __init__(self, kind: str, name: str, known: Iterable[str], *, hint: str = "") -> None:
        names = sorted(known)
        near = get_close_matches(name, names, n=1)
        guess = f" Did you mean {near[0]!r}?" if near else ""
        shown = ", ".join(names[:12]) + (" …" if len(names) > 12 else "")
        super().__init__(f"unknown {kind} {name!r}; known: {shown or 'none'}.{guess}{' ' + hint if hint else ''}")


class BadInput(UserError):
    """A file or value that is not what it should be."""


class UnsupportedModel(UserError):
    """A model that cannot be traced; the message says what would be needed."""


class ConfigurationChanged(UserError):
    """A resumed run whose configuration is not the one it began with."""


class PermanentError(AtlasError):
    """Retrying cannot help."""


class DamagedData(PermanentError):
    """Stored data that fails its checksum, schema or identity."""


class Incomplete(PermanentError):
    """An upstream part is missing; the message says what to run first."""


class TransientError(AtlasError):
    """A temporary failure; the same call may succeed later."""


class Unreachable(TransientError):
    """A server that does not answer."""
