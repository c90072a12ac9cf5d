"""From the error tree of errors.py to Dagster's: what is retried and what is not.

Only a `TransientError` asks Dagster for another attempt. Everything else we raise on purpose fails the step at once with
its own message, and `allow_retries=False` tells Dagster that trying again cannot help. Errors that are not ours pass
unchanged: they are bugs, and the traceback shows where. A crashed process is another matter: the run monitor restarts such a
run once (dagster.yaml).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from neuron_atlas.adapters.disk_faults import disk_faults_explained
from neuron_atlas.errors import AtlasError, TransientError
from neuron_atlas.settings import load_settings

MAX_RETRIES = 3
RETRY_SECONDS = 2.0


@contextmanager
def dagster_failures() -> Iterator[None]:
    """Translate what is raised inside: transient errors ask for a retry, our others become `dagster.Failure`."""
    try:
        with disk_faults_explained(load_settings().root):
            yield
    except TransientError as error:
        raise dg.RetryRequested(max_retries=MAX_RETRIES, seconds_to_wait=RETRY_SECONDS) from error
    except AtlasError as error:
        raise dg.Failure(description=str(error), allow_retries=False) from error
