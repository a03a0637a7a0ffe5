"""Traps: what an attack would touch if it got through. A port that counts, names that change, a secret that is told."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from typing import Any

CANARY = "canary-7d1f2e9a-must-never-be-told"
"""What a file holds that nobody may read."""


class Trap:
    """A port of all addresses of this machine, IPv4 and IPv6, that counts who connects."""

    def __init__(self) -> None:
        self.connections = 0
        self.port = 0

    async def __aenter__(self) -> Trap:
        listening = socket.socket(socket.AF_INET6)
        listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listening.bind(("::", 0))
        self._server = await asyncio.start_server(self._caught, sock=listening)
        self.port = listening.getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _caught(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        writer.transport.abort()


class Names:
    """The system's resolver, where some names are an attacker's: such a one has another answer at every question."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        """The attacker's names that were asked for."""
        self._answers: dict[str, list[Sequence[str]]] = {}
        self._system: Any = socket.getaddrinfo

    def answer(self, name: str, *rounds: Sequence[str]) -> None:
        """Answer the first question for a name with the first addresses, and so on; the last answer stays."""
        self._answers[name] = list(rounds)

    def getaddrinfo(self, host: Any, port: Any, *more: Any, **options: Any) -> list[Any]:
        """In place of `socket.getaddrinfo`."""
        rounds = self._answers.get(host)
        if rounds is None:
            return list(self._system(host, port, *more, **options))
        self.asked.append(host)
        addresses = rounds.pop(0) if len(rounds) > 1 else rounds[0]
        return [entry for address in addresses for entry in self._system(address, port, *more, **options)]
