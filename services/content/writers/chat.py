"""Chat: the adapter of providers with OpenAI's chat interface (`POST /chat/completions`)."""

from __future__ import annotations

import json
from typing import Any

from services.content.writers.models import Completion, ModelWriter, Prompt, read_count, to_bad_answer, to_refusal
from services.content.writers.parsing import extract_document
from services.content.writers.presets import ChatPreset, Structure
from services.providers.client import ProviderClient, idempotency_header
from services.providers.failures import FailureKind, ProviderFailure

# HTTP statuses of servers that do not support a `response_format`.
_UNSUPPORTED = (400, 404, 415, 422, 501)


class ChatWriter(ModelWriter):
    """A model with OpenAI's chat interface.

    A server that refuses a structured answer is asked for a less strict one, and from then on for no stricter one.

    Args:
        client: The client of the provider.
        preset: What the provider supports.
        model: The model.
    """

    def __init__(self, client: ProviderClient, preset: ChatPreset, model: str) -> None:
        super().__init__(client, model)
        self._preset = preset
        self._structure = preset.structure

    async def complete(self, prompt: Prompt, timeout_seconds: float) -> Completion:
        """Answer a prompt. Raises `ProviderFailure`."""
        structure = self._structure
        while True:
            body, path = self._body(prompt, structure), "/chat/completions"
            headers = idempotency_header(path, body)
            try:
                answer = await self.client.request_json(
                    "POST", path, json=body, headers=headers, timeout_seconds=timeout_seconds
                )
            except ProviderFailure as failure:
                if failure.code in ("content_filter", "content_policy_violation"):
                    raise to_refusal(self.name) from None
                is_unsupported = failure.kind is FailureKind.REFUSED and failure.status in _UNSUPPORTED
                if not is_unsupported or structure is Structure.TEXT:
                    raise
                structure = Structure(structure + 1)
                continue
            self._structure = structure
            return self._read(answer)

    async def check_key(self) -> None:
        """List the models, which costs nothing. Raises `ProviderFailure`."""
        await self.client.request_json("GET", "/models", timeout_seconds=10)

    def _body(self, prompt: Prompt, structure: Structure) -> dict[str, Any]:
        system = prompt.system
        if structure is not Structure.SCHEMA:
            schema = json.dumps(prompt.schema, ensure_ascii=False)
            system = f"{system}\nAnswer with one JSON object that follows this JSON schema, and nothing else: {schema}"
        body: dict[str, Any] = {
            "model": self._model,
            "messages": [{"role": "system", "content": system}, {"role": "user", "content": prompt.user}],
            self._preset.limit_field: prompt.max_tokens,
            **self._preset.extra,
        }
        if structure is Structure.SCHEMA:
            form = {"name": prompt.name, "strict": True, "schema": prompt.schema}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        elif structure is Structure.OBJECT:
            body["response_format"] = {"type": "json_object"}
        return body

    def _read(self, answer: Any) -> Completion:
        try:
            choice = answer["choices"][0]
            message = choice["message"]
            text, reason = message.get("content") or "", choice.get("finish_reason")
        except (KeyError, IndexError, TypeError, AttributeError):
            raise to_bad_answer(self.name, "its answer has no message; check the address of the provider") from None
        if message.get("refusal") or reason == "content_filter":
            raise to_refusal(self.name)
        if not isinstance(text, str) or not text.strip():
            raise to_bad_answer(self.name, "its answer is empty")
        if reason == "length":
            raise to_bad_answer(self.name, "its answer reached the limit of tokens and is cut off")
        return Completion(
            extract_document(text),
            text,
            read_count(answer, "usage", "prompt_tokens"),
            read_count(answer, "usage", "completion_tokens"),
        )
