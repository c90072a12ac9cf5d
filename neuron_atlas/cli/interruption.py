"""Ctrl-C, SIGTERM and SIGHUP end a command in the same way: what is under way is dropped, and the exit code says which it was."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def interruptible() -> Iterator[Callable[[], int]]:
    """Within the block SIGTERM and SIGHUP raise KeyboardInterrupt as Ctrl-C does; a signal that is ignored (nohup) stays ignored.

    Yields a function that returns the signal that came last, or 0. Dagster puts handlers of its own in the place of these while
    an asset runs, so the numbers are read from the pipe that Python writes them to, whoever handles them.
    """
    if threading.current_thread() is not threading.main_thread():  # only the main thread receives signals
        yield lambda: 0
        return
    received, pipe = os.pipe()
    os.set_blocking(received, False)
    os.set_blocking(pipe, False)
    numbers: list[int] = []

    def last_signal() -> int:
        with suppress(BlockingIOError):  # none since the last call
            numbers.extend(n for n in os.read(received, 4096) if n in SIGNALS)
        return numbers[-1] if numbers else 0

    former_pipe = signal.set_wakeup_fd(pipe, warn_on_full_buffer=False)
    former = {n: signal.getsignal(n) for n in SIGNALS if signal.getsignal(n) is not signal.SIG_IGN}
    for number in former:
        signal.signal(number, _interrupt)
    try:
        yield last_signal
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(former_pipe)
        os.close(received)
        os.close(pipe)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
