"""Anthropic: the adapter of the Messages API. The answer is the input of a tool, which has the form of the prompt."""

from __future__ import annotations

from typing import Any

from services.content.writers.models import Completion, ModelWriter, Prompt, read_count, to_bad_answer, to_refusal
from services.content.writers.parsing import extract_document
from services.providers.client import Authentication

BASE_URL = "https://api.anthropic.com"
MODEL = "claude-haiku-4-5"
VERSION = "2023-06-01"


def authenticate_anthropic(key: str) -> Authentication:
    """The headers of a call of Anthropic."""
    return Authentication({"x-api-key": key})


class AnthropicWriter(ModelWriter):
    """A model of Anthropic."""

    async def complete(self, prompt: Prompt, timeout_seconds: float) -> Completion:
        """Answer a prompt. Raises `ProviderFailure`."""
        tool = {"name": prompt.name, "description": "Submits the answer.", "input_schema": prompt.schema}
        body = {
            "model": self._model,
            "max_tokens": prompt.max_tokens,
            "system": prompt.system,
            "messages": [{"role": "user", "content": prompt.user}],
            "tools": [tool],
            "tool_choice": {"type": "tool", "name": prompt.name},
        }
        answer = await self.client.request_json(
            "POST",
            "/v1/messages",
            json=body,
            headers={"anthropic-version": VERSION},
            timeout_seconds=timeout_seconds,
        )
        return self._read(answer, prompt.name)

    async def check_key(self) -> None:
        """List the models, which costs nothing. Raises `ProviderFailure`."""
        await self.client.request_json("GET", "/v1/models", headers={"anthropic-version": VERSION}, timeout_seconds=10)

    def _read(self, answer: Any, tool: str) -> Completion:
        blocks = answer.get("content") if isinstance(answer, dict) else None
        if not isinstance(blocks, list) or not all(isinstance(block, dict) for block in blocks):
            raise to_bad_answer(self.name, "its answer has no content; check the address of the provider")
        if answer.get("stop_reason") == "refusal":
            raise to_refusal(self.name)
        if answer.get("stop_reason") == "max_tokens":
            raise to_bad_answer(self.name, "its answer reached the limit of tokens and is cut off")
        inputs = [
            block.get("input") for block in blocks if (block.get("type"), block.get("name")) == ("tool_use", tool)
        ]
        text = "\n".join(str(block.get("text", "")) for block in blocks if block.get("type") == "text")
        if not inputs and not text.strip():
            raise to_bad_answer(self.name, "its answer is empty")
        return Completion(
            inputs[0] if inputs else extract_document(text),
            text,
            read_count(answer, "usage", "input_tokens"),
            read_count(answer, "usage", "output_tokens"),
        )
