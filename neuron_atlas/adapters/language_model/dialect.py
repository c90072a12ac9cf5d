"""Which form of request a server understands, found out by trying.

Every server takes messages. Structured outputs, the name of the token limit and a seed are not everywhere: a server that
refuses one of them (status 400, naming the parameter) is asked in a simpler dialect from then on. Without structured outputs the
schema travels in the instructions, and the reply is checked by whoever asked, as always.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Literal

from neuron_atlas.core.llm_requests import LlmRequest

_STRUCTURE_WORDS = ("response_format", "json_schema", "json_object", "structured output", "grammar", "guided")
_LIMIT_WORDS = ("max_completion_tokens", "max_tokens")


@dataclass(frozen=True, slots=True)
class Dialect:
    """How requests are written for one server."""

    structure: Literal["json_schema", "json_object", "text"] = "json_schema"
    limit: Literal["max_completion_tokens", "max_tokens"] = "max_completion_tokens"
    has_seed: bool = True

    def body(self, request: LlmRequest, model: str) -> dict[str, object]:
        """The JSON body of a chat completion."""
        messages = [{"role": message.role, "content": message.content} for message in request.messages]
        body: dict[str, object] = {"model": model, self.limit: request.max_tokens}
        if self.has_seed:
            body["seed"] = request.seed
        if request.schema is not None and self.structure == "json_schema":
            schema = {"name": request.schema_name, "strict": True, "schema": request.schema}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        elif request.schema is not None:
            told = (
                f"Answer with one JSON object that fits this JSON schema:\n{json.dumps(request.schema, sort_keys=True)}"
            )
            messages = [*messages[:-1], {"role": "system", "content": told}, *messages[-1:]]
            if self.structure == "json_object":
                body["response_format"] = {"type": "json_object"}
        return body | {"messages": messages}

    def simpler(self, complaint: str) -> Dialect | None:
        """The dialect without what the server complains about; None when the complaint is about something else."""
        words = complaint.lower()
        if any(word in words for word in _LIMIT_WORDS) and self.limit == "max_completion_tokens":
            return replace(self, limit="max_tokens")
        if "seed" in words and self.has_seed:
            return replace(self, has_seed=False)
        if any(word in words for word in _STRUCTURE_WORDS) and self.structure != "text":
            return replace(self, structure="json_object" if self.structure == "json_schema" else "text")
        return None
