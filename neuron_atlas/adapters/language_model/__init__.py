"""Language models behind an OpenAI-compatible interface (OpenAI, vLLM, Ollama, llama.cpp …), each paid call through a ledger.

`OpenAIModel` asks many requests at once; `OpenAIBatchModel` sends them as Batch API jobs; both fulfil `LanguageModel` and share one
`Ledger`, which remembers every answer, counts what was spent and holds the budget. Where a server lies comes from the
configuration alone; a redirect is refused.
"""

from neuron_atlas.adapters.language_model.batch import OpenAIBatchModel
from neuron_atlas.adapters.language_model.ledger import Ledger, Spending
from neuron_atlas.adapters.language_model.live import OpenAIModel
from neuron_atlas.adapters.language_model.redaction import keep_out_of_logs
from neuron_atlas.adapters.language_model.server import Patience, Prices, Server

__all__ = [
    "Ledger",
    "OpenAIBatchModel",
    "OpenAIModel",
    "Patience",
    "Prices",
    "Server",
    "Spending",
    "keep_out_of_logs",
]
