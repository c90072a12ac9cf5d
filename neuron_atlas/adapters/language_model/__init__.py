"""Language models behind an OpenAI-compatible interface (OpenAI, vLLM, Ollama, llama.cpp …), each paid call through a ledger.

    live.py            `OpenAIModel`: many requests at once
    batch.py           `OpenAIBatchModel`: the same requests as Batch API jobs
    ledger_client.py   what both share: server, ledger, budget, spending
    ledger.py          `Ledger`: every paid call, its answer and cost; keeps the budget across processes
    estimate.py        what requests would cost, before the first is sent
    server_settings.py          where requests go, how often they are retried, prices
    read_completion.py         what a completion says, what an error of a server means
    dialect.py         which form of request a server understands
    cooldown.py        rate limits and the pauses between tries
    redaction.py       the key kept out of logs and messages

Both clients fulfil `core.ports.LanguageModel`. Not here: what is requested and how a reply is read (labels:
`core/labeling/labelers/prompt.py`; clusters: `core/circuits/naming/name_by_language_model.py`), or settings (`defs/resources`). The
server's address comes from the configuration alone; a redirect is refused.
"""

from neuron_atlas.adapters.language_model.batch import OpenAIBatchModel
from neuron_atlas.adapters.language_model.ledger import Ledger, Spending
from neuron_atlas.adapters.language_model.live import OpenAIModel
from neuron_atlas.adapters.language_model.redaction import keep_out_of_logs
from neuron_atlas.adapters.language_model.server_settings import Prices, RetryPolicy, Server

__all__ = [
    "Ledger",
    "OpenAIBatchModel",
    "OpenAIModel",
    "Prices",
    "RetryPolicy",
    "Server",
    "Spending",
    "keep_out_of_logs",
]
