"""`neuron-atlas dev` opens the Dagster UI on the instance that every command uses; `neuron-atlas stop` stops the embedded
Postgres."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import click
import psutil

from neuron_atlas.cli.printing import out
from neuron_atlas.settings import load_settings


@click.command(epilog="Example: neuron-atlas dev --port 3001")
@click.option("--port", type=click.IntRange(1, 65535), default=3000, show_default=True)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on. The UI has no password.")
def dev(port: int, host: str) -> None:
    """Open the Dagster UI, with the daemon that runs backfills, schedules and retries. Ctrl-C stops it."""
    from neuron_atlas.definitions import open_instance
    from neuron_atlas.defs.instance import instance_home

    settings = load_settings()
    with open_instance(settings):
        pass
    environment = {**os.environ, "DAGSTER_HOME": str(instance_home(settings).absolute())}
    command = [sys.executable, "-m", "dagster", "dev", "-m", "neuron_atlas.definitions", "-h", host, "-p", str(port)]
    # A background shell starts its jobs with SIGINT ignored, and Dagster would ignore SIGTERM as well then.
    process = subprocess.Popen(command, env=environment, cwd=Path.cwd(), preexec_fn=_default_signals)
    sys.exit(_wait(process))


STOP_SECONDS = 10
"""How long the webserver, the daemon and the code server have to end by themselves."""


def _wait(process: subprocess.Popen[bytes]) -> int:
    """Wait for Dagster to end; a signal to this process ends it and every process that it started. Returns the exit code."""
    received: list[int] = []
    started: list[psutil.Process] = []

    def stop_all(number: int, _: object) -> None:
        if not received and process.poll() is None:
            dagster = psutil.Process(process.pid)
            started.extend([dagster, *dagster.children(recursive=True)])
            if number != signal.SIGINT or not _is_in_foreground():
                process.send_signal(signal.SIGINT)  # it passes the signal on and waits for its servers
        received.append(number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop_all)
    while process.poll() is None and not received:
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.5)
    if not received:
        return process.returncode
    _, left = psutil.wait_procs(started, timeout=STOP_SECONDS)
    for one in left:
        with suppress(psutil.NoSuchProcess):
            one.kill()
    process.wait()
    return 128 + received[0]


def _is_in_foreground() -> bool:
    """Whether a terminal's Ctrl-C went to every process of the group already."""
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (OSError, ValueError):
        return False


def _default_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


@click.command(epilog="Example: neuron-atlas stop")
def stop() -> None:
    """Stop the embedded Postgres of this atlas. The next command that needs it starts it again."""
    from neuron_atlas.adapters.postgres import stop_embedded

    folder = load_settings().embedded_postgres
    out.print("stopped" if folder.exists() and stop_embedded(folder) else "the embedded Postgres is not running")
