"""A reader that has read enough is no error."""

from __future__ import annotations

import subprocess
import sys


def test_a_reader_that_leaves_ends_the_command_without_an_error() -> None:
    command = [sys.executable, "-c", "from neuron_atlas.cli import main; main()", "prompts", "list"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
    assert process.returncode == 0
    assert said == ""
