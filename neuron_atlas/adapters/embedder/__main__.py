"""Fetch the sentence embedder's weights into the Python environment, so that nothing has to be fetched later."""

from __future__ import annotations

import sys

from neuron_atlas.adapters.embedder.weights import ENVIRONMENT, fetch_weights
from neuron_atlas.errors import AtlasError

if __name__ == "__main__":
    try:
        print(fetch_weights(ENVIRONMENT))
    except AtlasError as error:
        sys.exit(f"{error}")
