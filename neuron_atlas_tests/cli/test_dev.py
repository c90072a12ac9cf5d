"""Stopping the UI: no process of it is left, whatever signal ends it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psutil
import pytest


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_the_ui_with_every_process_that_it_started(tmp_path: Path, number: signal.Signals) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "NEURON_ATLAS_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-c", "from neuron_atlas.cli import main; main()", "dev", "--port", str(port)]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            command, env=environment, cwd=tmp_path, stdout=log, stderr=log, start_new_session=True
        )
    try:
        _await_answer(port, process, tmp_path / "log")
        started = psutil.Process(process.pid).children(recursive=True)
        assert len(started) >= 4  # dagster dev, webserver, daemon, code server
        process.send_signal(number)
        assert process.wait(timeout=60) == 128 + number
        _, left = psutil.wait_procs(started, timeout=1)
        assert not [one for one in left if one.status() != psutil.STATUS_ZOMBIE]
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", port), timeout=1)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def _await_answer(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(240):
        assert process.poll() is None, log.read_text()[-2000:]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/server_info", timeout=2):
                return
        except OSError:
            time.sleep(0.5)
    raise AssertionError(log.read_text()[-2000:])
