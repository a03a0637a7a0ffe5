"""Gemini: the adapter of Google's generateContent, with a response schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from services.content.writers.models import Completion, ModelWriter, Prompt, read_count, to_bad_answer, to_refusal
from services.content.writers.parsing import extract_document
from services.providers.client import Authentication

BASE_URL = "https://generativelanguage.googleapis.com"
MODEL = "gemini-2.5-flash"
# The reasons of an answer without text that lie in the subject.
_DECLINED = ("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "LANGUAGE")


def authenticate_gemini(key: str) -> Authentication:
    """The headers of a call of Gemini. The key is not in the query, where proxies log it."""
    return Authentication({"x-goog-api-key": key})


class GeminiWriter(ModelWriter):
    """A model of Google."""

    async def complete(self, prompt: Prompt, timeout_seconds: float) -> Completion:
        """Answer a prompt. Raises `ProviderFailure`."""
        body = {
            "systemInstruction": {"parts": [{"text": prompt.system}]},
            "contents": [{"role": "user", "parts": [{"text": prompt.user}]}],
            "generationConfig": {
                "maxOutputTokens": prompt.max_tokens,
                "responseMimeType": "application/json",
                "responseSchema": to_response_schema(prompt.schema),
            },
        }
        path = f"/v1beta/models/{quote(self._model, safe='')}:generateContent"
        answer = await self.client.request_json("POST", path, json=body, timeout_seconds=timeout_seconds)
        return self._read(answer)

    async def check_key(self) -> None:
        """List the models, which costs nothing. Raises `ProviderFailure`."""
        await self.client.request_json("GET", "/v1beta/models", params={"pageSize": "1"}, timeout_seconds=10)

    def _read(self, answer: Any) -> Completion:
        if not isinstance(answer, dict):
            raise to_bad_answer(self.name, "its answer is no object; check the address of the provider")
        if read_text(answer, "promptFeedback", "blockReason"):
            raise to_refusal(self.name)
        candidates = answer.get("candidates")
        candidate = candidates[0] if isinstance(candidates, list) and candidates else None
        reason = read_text(candidate, "finishReason")
        if reason in _DECLINED:
            raise to_refusal(self.name)
        if reason == "MAX_TOKENS":
            raise to_bad_answer(self.name, "its answer reached the limit of tokens and is cut off")
        content = candidate.get("content") if isinstance(candidate, dict) else None
        parts = content.get("parts") if isinstance(content, dict) else None
        # Parts with `thought` are the reasoning.
        shown = [part for part in parts or () if isinstance(part, dict) and not part.get("thought")]
        text = "".join(read_text(part, "text") for part in shown)
        if not text.strip():
            raise to_bad_answer(self.name, "its answer is empty")
        return Completion(
            extract_document(text),
            text,
            read_count(answer, "usageMetadata", "promptTokenCount"),
            read_count(answer, "usageMetadata", "candidatesTokenCount"),
        )


def read_text(document: Any, *names: str) -> str:
    """A text in an answer, by the path of its field; empty when there is none."""
    for name in names:
        document = document.get(name) if isinstance(document, dict) else None
    return document if isinstance(document, str) else ""


def to_response_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Translate a JSON schema into Gemini's subset of OpenAPI: types in capitals, an order, no further properties."""
    found: dict[str, Any] = {"type": str(schema["type"]).upper()}
    if "description" in schema:
        found["description"] = schema["description"]
    if "items" in schema:
        found["items"] = to_response_schema(schema["items"])
    if "properties" in schema:
        found["properties"] = {name: to_response_schema(each) for name, each in schema["properties"].items()}
        found["required"] = list(schema["required"])
        found["propertyOrdering"] = list(schema["properties"])
    return found
