"""A platform whose writers, speech and footage come from servers that stand for their providers."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests import media
from tests.e2e.conftest import RunningPlatform
from tests.providers.footage_servers import KEYS, PexelsServer, pexels_video
from tests.providers.model_servers import AnthropicServer, ChatServer, GeminiServer
from tests.providers.provider_server import ProviderServer
from tests.providers.speech_servers import AzureServer, ElevenLabsServer, GoogleServer, OpenAiServer
from tests.up import up
from tests.validation.site import Site

WRITERS = ("anthropic", "gemini", "mistral")
SPEECH = ("openai", "google", "azure", "elevenlabs")
SEARCH_TERMS = ("salt crystals", "ocean waves")
"""What the models of the tests write as search terms."""


@dataclass(frozen=True)
class ProviderPlatform(RunningPlatform):
    """A running platform with providers, and their servers by name."""

    servers: Mapping[str, Any]

    def reset(self) -> None:
        """Let all providers work again, and forget their requests."""
        for server in self.servers.values():
            server.default = None
            server.answers.clear()
            server.requests.clear()

    def check(self) -> None:
        """No request violated the protocol of its provider."""
        assert {name: server.violations for name, server in self.servers.items()} == {name: [] for name in self.servers}


def _address(name: str, server: ProviderServer) -> str:
    return f"{server.url}/v1" if name in ("openai", "mistral") else server.url


@asynccontextmanager
async def open_platform(
    certificates: Path, folder: Path, environment: Mapping[str, str] | None = None
) -> AsyncIterator[ProviderPlatform]:
    """Run a platform with three writers, four providers of speech, and Pexels with two clips for each search term."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates / "gateway" / "cert.pem", certificates / "gateway" / "key.pem")
    data = folder / "data"
    data.mkdir(mode=0o700, parents=True)
    clip = media.clip(folder / "sea.mp4", "color=0x204060:s={w}x{h}:r={rate}", rate="24", seconds=12.0).read_bytes()
    async with AsyncExitStack() as stack:
        site = await stack.enter_async_context(Site(context))
        videos = {
            term: [_pexels_clip(site, clip, 100 * place + number) for number in (1, 2)]
            for place, term in enumerate(SEARCH_TERMS, 1)
        }
        servers: dict[str, Any] = {
            "anthropic": AnthropicServer(),
            "gemini": GeminiServer(),
            "mistral": ChatServer(),
            **{server.name: server() for server in (OpenAiServer, GoogleServer, AzureServer, ElevenLabsServer)},
            "pexels": PexelsServer(videos),
        }
        for server in servers.values():
            await stack.enter_async_context(server)
        keys = {name: [servers[name].key] for name in WRITERS} | {name: servers[name].KEYS for name in SPEECH}
        keys["pexels"] = KEYS
        document = {
            name: {
                "keys": list(keys[name]),
                "base_url": _address(name, server),
                "uses": ["speech" if name in SPEECH else "writing" if name in WRITERS else "footage"],
            }
            for name, server in servers.items()
        }
        (data / "providers.json").write_text(json.dumps(document))
        (data / "providers.json").chmod(0o600)
        settings = {
            "MONEYPRINTER_VALIDATION_ALLOWED_NETWORKS": json.dumps(["127.0.0.0/8"]),
            "MONEYPRINTER_VALIDATION_EXTRA_AUTHORITY": str(certificates / "ca.pem"),
            "MONEYPRINTER_CONTENT_WRITERS": ",".join(WRITERS),
            "MONEYPRINTER_CONTENT_FOOTAGE_HOSTS": json.dumps({"pexels": [f"127.0.0.1:{site.port}"]}),
            "MONEYPRINTER_AUDIO_PROVIDER_PRICES": json.dumps({"openai": 15}),
            "MONEYPRINTER_CONTENT_PROVIDER_PRICES": json.dumps({"anthropic": 5}),
        }
        running = await stack.enter_async_context(up(data, environment={**settings, **(environment or {})}))
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=running.url, timeout=30))
        tokens = await http.post("/v1/auth/sign-in", json=json.loads((data / "first-account").read_text()))
        http.headers["authorization"] = f"Bearer {tokens.json()['access_token']}"
        yield ProviderPlatform(running.url, data, http, site, servers)


def _pexels_clip(site: Site, clip: bytes, number: int) -> dict[str, Any]:
    """A clip of 12 s at Pexels, whose file the site has."""
    link = site.file(f"/video-files/{number}.mp4", clip)
    file = {"id": number, "quality": "sd", "file_type": "video/mp4", "width": 640, "height": 360, "link": link}
    return pexels_video(number, "sea-waves", 12, width=640, height=360, video_files=[file])
