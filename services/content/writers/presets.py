"""Presets: the providers with OpenAI's chat interface, as data: address, key, model, and what each supports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any


class Structure(IntEnum):
    """How a server is made to answer in JSON, the strictest first."""

    SCHEMA = 0
    """`response_format` with a JSON schema."""
    OBJECT = 1
    """`response_format` that only demands a JSON object."""
    TEXT = 2
    """No `response_format`: the prompt demands JSON."""


@dataclass(frozen=True)
class ChatPreset:
    """A provider with OpenAI's chat interface."""

    base_url: str
    """The address up to the version; empty: the operator's, from the credentials."""
    model: str
    """The model, unless the credentials name another."""
    structure: Structure = Structure.SCHEMA
    """The strictest structure that the provider documents."""
    key_header: str = ""
    """The header of the key; empty: `Authorization` with a bearer token."""
    needs_key: bool = True
    limit_field: str = "max_tokens"
    """The name of the limit of tokens."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of the body."""


# Sources: the API references of the providers, chat completions, as of 2026.
CHAT_PRESETS: Mapping[str, ChatPreset] = {
    "openai": ChatPreset("https://api.openai.com/v1", "gpt-4.1-mini", limit_field="max_completion_tokens"),
    # The model is the name of the deployment; the address is https://RESOURCE.openai.azure.com/openai/v1.
    "azure-openai": ChatPreset("", "gpt-4.1-mini", key_header="api-key", limit_field="max_completion_tokens"),
    "deepseek": ChatPreset("https://api.deepseek.com", "deepseek-chat", Structure.OBJECT),
    "qwen": ChatPreset("https://dashscope-intl.aliyuncs.com/compatible-mode/v1", "qwen-plus", Structure.OBJECT),
    "moonshot": ChatPreset("https://api.moonshot.ai/v1", "kimi-latest", Structure.OBJECT),
    "groq": ChatPreset("https://api.groq.com/openai/v1", "openai/gpt-oss-20b", limit_field="max_completion_tokens"),
    "mistral": ChatPreset("https://api.mistral.ai/v1", "mistral-small-latest"),
    "xai": ChatPreset("https://api.x.ai/v1", "grok-3-mini"),
    "together": ChatPreset("https://api.together.xyz/v1", "meta-llama/Llama-3.3-70B-Instruct-Turbo"),
    # Only providers that support every field of the request.
    "openrouter": ChatPreset(
        "https://openrouter.ai/api/v1", "openai/gpt-4.1-mini", extra={"provider": {"require_parameters": True}}
    ),
    "ollama": ChatPreset("http://127.0.0.1:11434/v1", "llama3.2", needs_key=False),
    "vllm": ChatPreset("http://127.0.0.1:8000/v1", "default", needs_key=False),
    "lmstudio": ChatPreset("http://127.0.0.1:1234/v1", "default", needs_key=False),
    # Any other server.
    "compatible": ChatPreset("", "default", needs_key=False),
}

ANTHROPIC, GEMINI, CHARACTER_AI = "anthropic", "gemini", "character-ai"
DEFAULT_ORDER = ("openai", ANTHROPIC, GEMINI, *(name for name in CHAT_PRESETS if name != "openai"))
"""The order of the writers, of which those with credentials are called."""
WRITERS = (*DEFAULT_ORDER, CHARACTER_AI)
"""All writers. Character.ai is not in the order unless the settings name it."""
