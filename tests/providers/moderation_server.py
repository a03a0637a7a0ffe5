"""A server that stands for OpenAI's moderation: `POST /v1/moderations` by the published OpenAPI description."""

from __future__ import annotations

from typing import Any

from tests.providers.provider_server import Answer, ProviderServer, Request, json_answer

KEY = "sk-good"
MODELS = ("omni-moderation-latest", "omni-moderation-2024-09-26", "text-moderation-latest", "text-moderation-stable")
CATEGORIES = (
    *("harassment", "harassment/threatening", "hate", "hate/threatening", "illicit", "illicit/violent", "self-harm"),
    *("self-harm/intent", "self-harm/instructions", "sexual", "sexual/minors", "violence", "violence/graphic"),
)
# CreateModerationRequest, for texts.
REQUEST: dict[str, Any] = {
    "type": "object",
    "required": ["input"],
    "additionalProperties": False,
    "properties": {
        "input": {
            "oneOf": [
                {"type": "string"},
                {"type": "array", "minItems": 1, "items": {"type": "string", "minLength": 1}},
            ]
        },
        "model": {"enum": list(MODELS)},
    },
}


def error_answer(status: int, code: str, **headers: str) -> Answer:
    """An error as the provider answers it, with texts that must not reach a log."""
    error = {"message": f"secret detail about {KEY}", "type": code, "param": None, "code": code}
    return json_answer({"error": error}, status, **headers)


class ModerationServer(ProviderServer):
    """Flags each text that has a category's name in brackets, such as `[hate/threatening]`."""

    def handle(self, request: Request) -> Answer:
        if (request.method, request.path) != ("POST", "/v1/moderations"):
            return self.refuse(f"{request.method} {request.path}", error_answer(404, "not_found"))
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return error_answer(401, "invalid_api_key")
        if not request.headers.get("content-type", "").startswith("application/json"):
            return self.refuse("the content type is not JSON", error_answer(400, "invalid_content_type"))
        if problem := self.check(request, REQUEST):
            return self.refuse(problem, error_answer(400, "invalid_request_error"))
        body = request.json()
        results = [self._classify(text) for text in body["input"]]
        return json_answer({"id": "modr-1", "model": "omni-moderation-2024-09-26", "results": results})

    def _classify(self, text: str) -> dict[str, Any]:
        found = {name: f"[{name}]" in text for name in CATEGORIES}
        return {
            "flagged": any(found.values()),
            "categories": found,
            "category_scores": {name: 0.98 if is_found else 0.0001 for name, is_found in found.items()},
            "category_applied_input_types": {name: ["text"] for name in CATEGORIES},
        }
