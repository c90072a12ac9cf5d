"""Keeps a secret, such as the API key, out of log lines and out of messages that a server echoes back.

Log records are rewritten where they are made, so it does not matter which library logs, at which level, to which handler.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

HIDDEN = "[hidden]"
_MIN_LENGTH = 6
"""A shorter value is no secret but a placeholder; hiding it would garble every text that contains it."""
_secrets: set[str] = set()
_formatter = logging.Formatter()


def keep_out_of_logs(secret: str) -> None:
    """From now on this process's logs show `[hidden]` instead of the secret."""
    if len(secret) < _MIN_LENGTH:
        return
    _secrets.add(secret)
    factory = logging.getLogRecordFactory()
    if not isinstance(factory, _Redacting):
        logging.setLogRecordFactory(_Redacting(factory))


def redacted(text: str, *secrets: str) -> str:
    """The text without the given secrets and those kept out of the logs."""
    for secret in (*secrets, *_secrets):
        if len(secret) >= _MIN_LENGTH:
            text = text.replace(secret, HIDDEN)
    return text


class _Redacting:
    """A log record factory around the one that was there before."""

    def __init__(self, factory: Callable[..., logging.LogRecord]) -> None:
        self._factory = factory

    def __call__(self, *args: object, **kwargs: object) -> logging.LogRecord:
        record = self._factory(*args, **kwargs)
        if _has_secret(record.msg) or _has_secret(record.args):
            record.msg, record.args = redacted(record.getMessage()), ()
        if record.exc_info and record.exc_info[0] is not None:
            record.exc_text = redacted(_formatter.formatException(record.exc_info))
        return record


def _has_secret(value: object) -> bool:
    shown = f"{value!r} {value!s}"
    return any(secret in shown for secret in _secrets)
