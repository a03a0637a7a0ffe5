"""Model servers: servers that speak the protocols of language models, refuse what those refuse, and write on demand.

The schemas are written from the references of the providers: OpenAI, "Create chat completion" and "Structured Outputs";
Microsoft, "Azure OpenAI v1 API"; DeepSeek, "JSON Output"; Anthropic, "Create a Message" and "Tool use"; Google,
"Generate content" (`GenerateContentRequest`, `Schema`).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from itertools import cycle, islice
from typing import Any

from services.content.scripts.lengths import count_words
from services.content.scripts.script_templates import TEMPLATES
from tests.providers.provider_server import Answer, ProviderServer, Request, json_answer

KEY = "sk-test-0123456789abcdef"


def closed(properties: Mapping[str, Any], required: tuple[str, ...] = ()) -> dict[str, Any]:
    """A schema that refuses unknown fields, as the providers do."""
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


TEXT: dict[str, Any] = {"type": "string", "minLength": 1}
COUNT: dict[str, Any] = {"type": "integer", "minimum": 1}
_NAME = {"type": "string", "pattern": "^[a-zA-Z0-9_-]{1,64}$"}
_MESSAGE = closed(
    {"role": {"enum": ["system", "developer", "user", "assistant"]}, "content": TEXT}, ("role", "content")
)
_FORMAT = {
    "oneOf": [
        closed({"type": {"enum": ["text", "json_object"]}}, ("type",)),
        closed(
            {
                "type": {"const": "json_schema"},
                "json_schema": closed(
                    {"name": _NAME, "strict": {"type": "boolean"}, "schema": {"type": "object"}}, ("name", "schema")
                ),
            },
            ("type", "json_schema"),
        ),
    ]
}
_CHAT = {"model": TEXT, "messages": {"type": "array", "minItems": 1, "items": _MESSAGE}, "response_format": _FORMAT}
_ANTHROPIC = closed(
    {
        "model": TEXT,
        "max_tokens": COUNT,
        "system": TEXT,
        "messages": {
            "type": "array",
            "minItems": 1,
            "items": closed({"role": {"enum": ["user", "assistant"]}, "content": TEXT}, ("role", "content")),
        },
        "tools": {
            "type": "array",
            "items": closed(
                {"name": _NAME, "description": TEXT, "input_schema": {"type": "object", "required": ["type"]}},
                ("name", "input_schema"),
            ),
        },
        "tool_choice": closed({"type": {"enum": ["auto", "any", "tool"]}, "name": _NAME}, ("type",)),
    },
    ("model", "max_tokens", "messages"),
)
_PARTS = {"type": "array", "minItems": 1, "items": closed({"text": TEXT}, ("text",))}
_GEMINI_TYPES = ["STRING", "NUMBER", "INTEGER", "BOOLEAN", "ARRAY", "OBJECT"]
_GEMINI = {
    **closed(
        {
            "systemInstruction": closed({"parts": _PARTS}, ("parts",)),
            "contents": {
                "type": "array",
                "minItems": 1,
                "items": closed({"role": {"enum": ["user", "model"]}, "parts": _PARTS}, ("parts",)),
            },
            "generationConfig": closed(
                {
                    "maxOutputTokens": COUNT,
                    "responseMimeType": {"enum": ["text/plain", "application/json"]},
                    "responseSchema": {"$ref": "#/$defs/schema"},
                }
            ),
        },
        ("contents",),
    ),
    "$defs": {
        "schema": closed(
            {
                "type": {"enum": _GEMINI_TYPES},
                "description": TEXT,
                "items": {"$ref": "#/$defs/schema"},
                "properties": {"type": "object", "additionalProperties": {"$ref": "#/$defs/schema"}},
                "required": {"type": "array", "items": TEXT},
                "propertyOrdering": {"type": "array", "items": TEXT},
            },
            ("type",),
        )
    },
}


def is_strict(schema: Mapping[str, Any]) -> bool:
    """Whether a schema follows OpenAI's rules of strict output: all fields required, and no further ones."""
    if schema.get("type") == "object":
        fields = schema.get("properties", {})
        if schema.get("additionalProperties") is not False or sorted(schema.get("required", ())) != sorted(fields):
            return False
        return all(map(is_strict, fields.values()))
    return is_strict(schema["items"]) if schema.get("type") == "array" else True


def write_document(wishes: Mapping[str, Any]) -> dict[str, Any]:
    """The document that a good model answers to the data of a prompt."""
    language = wishes["language"] if wishes["language"] in TEMPLATES else "en"
    if "texts" in wishes:
        return {"translations": list(islice(cycle(TEMPLATES[language].body), len(wishes["texts"])))}
    if "platforms" in wishes:
        texts = {"title": TEMPLATES[language].body[2][:60], "description": " ".join(TEMPLATES[language].body[:2])}
        named = [each["platform"] for each in wishes["platforms"]]
        return {"platforms": [{"platform": name, **texts, "hashtags": ["Sea", "#salt", "sea"]} for name in named]}
    return {"scenes": write_scenes(language, wishes)}


def write_scenes(language: str, wishes: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Scenes of the requested length in a language."""
    wanted = int("".join(filter(str.isdigit, wishes["length"].split()[0])) or 80) if "length" in wishes else 80
    sentences: list[str] = []
    body = cycle(TEMPLATES[language].body)
    while count_words(" ".join(sentences), language) < wanted * 0.95:
        sentences.append(next(body))
    while count_words(" ".join(sentences), language) > wanted * 1.1:
        sentences[-1] = sentences[-1][: len(sentences[-1]) // 2].rstrip(" ,、،") + TEMPLATES[language].full_stop
    if "sentence_count" in wishes:
        sentences = list(islice(cycle(TEMPLATES[language].body), int(wishes["sentence_count"].split()[1])))
    count = wishes["scene_count"] if isinstance(wishes["scene_count"], int) else max(1, len(sentences) // 2)
    parts = [sentences[at::count] for at in range(count)]
    return [
        {"narration": " ".join(part), "search_terms": ["salt crystals", "ocean waves"], "title": "Salt"}
        for part in parts
    ]


class ModelServer(ProviderServer):
    """A language model, which writes what the prompt requests, or what a test gives it."""

    def __init__(self, key: str = KEY) -> None:
        super().__init__()
        self.key = key
        self.texts: list[str] = []
        """What the model writes next in place of a good document, the first one first."""
        self.wishes: list[dict[str, Any]] = []
        """The data of the prompts."""
        self.arrived = asyncio.Event()
        """Set when a prompt arrives."""

    @property
    def prompts(self) -> list[Request]:
        """The requests that are not checks of the key."""
        return [request for request in self.requests if request.method == "POST"]

    def write(self, user: str) -> str:
        """The text that the model writes to the message of a user."""
        self.wishes.append(json.loads(user))
        self.arrived.set()
        return self.texts.pop(0) if self.texts else json.dumps(write_document(self.wishes[-1]), ensure_ascii=False)


class ChatServer(ModelServer):
    """A server with OpenAI's chat interface.

    Args:
        key: The only valid key; empty: the server needs none.
        key_header: The header of the key.
        formats: The supported values of `response_format.type`.
        limit_field: The name of the limit of tokens.
    """

    def __init__(
        self,
        key: str = KEY,
        key_header: str = "authorization",
        formats: tuple[str, ...] = ("text", "json_object", "json_schema"),
        limit_field: str = "max_tokens",
    ) -> None:
        super().__init__(key)
        self.key_header, self.formats = key_header, formats
        self.schema = closed({**_CHAT, limit_field: COUNT}, ("model", "messages"))
        self.refusal = ""
        """What the model answers in `refusal`."""
        self.finish_reason = "stop"

    def handle(self, request: Request) -> Answer:
        called = (request.method, request.path)
        if called not in (("POST", "/v1/chat/completions"), ("GET", "/v1/models")):
            return self.refuse(f"{request.method} {request.path}", self.error(404, "unknown_url"))
        expected = f"Bearer {self.key}" if self.key_header == "authorization" else self.key
        if self.key and request.headers.get(self.key_header) != expected:
            return self.error(401, "invalid_api_key")
        if request.method == "GET":
            return json_answer({"object": "list", "data": [{"id": "a-model", "object": "model"}]})
        if problem := self.check(request, self.schema):
            return self.refuse(problem, self.error(400, "invalid_request_error"))
        body = request.json()
        form = body.get("response_format", {"type": "text"})
        if form["type"] not in self.formats:
            return self.error(400, "invalid_request_error")
        if form["type"] == "json_schema" and not is_strict(form["json_schema"]["schema"]):
            return self.refuse("the schema is not strict", self.error(400, "invalid_json_schema"))
        if form["type"] == "json_object" and "JSON" not in str(body["messages"]):
            return self.refuse("'messages' must contain the word 'json'", self.error(400, "invalid_request_error"))
        text = self.write(body["messages"][-1]["content"])
        message = {"role": "assistant", "content": None if self.refusal else text, "refusal": self.refusal or None}
        return json_answer(
            {
                "id": "chatcmpl-1",
                "object": "chat.completion",
                "model": body["model"],
                "choices": [{"index": 0, "message": message, "finish_reason": self.finish_reason}],
                "usage": {"prompt_tokens": 300, "completion_tokens": 200, "total_tokens": 500},
            }
        )

    @staticmethod
    def error(status: int, code: str, **headers: str) -> Answer:
        """An error as OpenAI sends it."""
        fields = {"message": "The request failed.", "type": "invalid_request_error", "param": None, "code": code}
        return json_answer({"error": fields}, status, **headers)


class AnthropicServer(ModelServer):
    """Anthropic's Messages API."""

    stop_reason = "tool_use"

    def handle(self, request: Request) -> Answer:
        if (request.method, request.path) not in (("POST", "/v1/messages"), ("GET", "/v1/models")):
            return self.refuse(f"{request.method} {request.path}", self.error(404, "not_found_error"))
        if request.headers.get("x-api-key") != self.key:
            return self.error(401, "authentication_error")
        if request.headers.get("anthropic-version") != "2023-06-01":
            return self.refuse("anthropic-version: header is required", self.error(400, "invalid_request_error"))
        if request.method == "GET":
            return json_answer({"data": [{"type": "model", "id": "a-model"}], "has_more": False})
        if problem := self.check(request, _ANTHROPIC):
            return self.refuse(problem, self.error(400, "invalid_request_error"))
        body = request.json()
        text = self.write(body["messages"][-1]["content"])
        try:
            content = [
                {"type": "tool_use", "id": "toolu_1", "name": body["tools"][0]["name"], "input": json.loads(text)}
            ]
        except ValueError:
            content = [{"type": "text", "text": text}]
        usage = {"input_tokens": 300, "output_tokens": 200}
        return json_answer(
            {
                "id": "msg_1",
                "type": "message",
                "role": "assistant",
                "model": body["model"],
                "content": content,
                "stop_reason": self.stop_reason,
                "usage": usage,
            }
        )

    @staticmethod
    def error(status: int, kind: str, **headers: str) -> Answer:
        """An error as Anthropic sends it."""
        return json_answer({"type": "error", "error": {"type": kind, "message": "It failed."}}, status, **headers)


class GeminiServer(ModelServer):
    """Google's generateContent."""

    finish_reason = "STOP"

    def handle(self, request: Request) -> Answer:
        lists = (request.method, request.path) == ("GET", "/v1beta/models")
        if not lists and (request.method != "POST" or not request.path.endswith(":generateContent")):
            return self.refuse(f"{request.method} {request.path}", self.error(404, "NOT_FOUND"))
        if "key" in request.query:
            return self.refuse("the key is in the query", self.error(400, "INVALID_ARGUMENT"))
        if request.headers.get("x-goog-api-key") != self.key:
            return self.error(400, "INVALID_ARGUMENT", reason="API_KEY_INVALID")
        if lists:
            return json_answer({"models": [{"name": "models/a-model"}]})
        if problem := self.check(request, _GEMINI):
            return self.refuse(problem, self.error(400, "INVALID_ARGUMENT"))
        text = self.write(request.json()["contents"][-1]["parts"][0]["text"])
        parts = [{"text": "I think.", "thought": True}, {"text": text}]
        candidate = {"content": {"role": "model", "parts": parts}, "finishReason": self.finish_reason, "index": 0}
        usage = {"promptTokenCount": 300, "candidatesTokenCount": 200, "totalTokenCount": 500}
        return json_answer({"candidates": [candidate], "usageMetadata": usage})

    @staticmethod
    def error(status: int, code: str, reason: str = "", **headers: str) -> Answer:
        """An error as Google sends it."""
        details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason}] if reason else []
        fields = {"code": status, "message": "It failed.", "status": code, "details": details}
        return json_answer({"error": fields}, status, **headers)
