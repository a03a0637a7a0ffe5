"""Traps that a successful attack would trigger: a port that counts connections, a resolver for rebinding, a canary."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from typing import Any

from tests.trap_ports import bind_trap

CANARY = "canary-7d1f2e9a-must-never-leak"
"""The content of a file that must not leak."""


class Trap:
    """A port on all addresses of this machine, IPv4 and IPv6, that counts connections."""

    def __init__(self) -> None:
        self.connections = 0
        self.port = 0

    async def __aenter__(self) -> Trap:
        listening = bind_trap("::")
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
    """The system's resolver, except for an attacker's names, which resolve differently at every query."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        """The queries for the attacker's names."""
        self._answers: dict[str, list[Sequence[str]]] = {}
        self._system: Any = socket.getaddrinfo

    def answer(self, name: str, *rounds: Sequence[str]) -> None:
        """Resolve the first query for a name to the first addresses, and so on; the last addresses stay."""
        self._answers[name] = list(rounds)

    def getaddrinfo(self, host: Any, port: Any, *more: Any, **options: Any) -> list[Any]:
        """Replace `socket.getaddrinfo`."""
        rounds = self._answers.get(host)
        if rounds is None:
            return list(self._system(host, port, *more, **options))
        self.asked.append(host)
        addresses = rounds.pop(0) if len(rounds) > 1 else rounds[0]
        return [entry for address in addresses for entry in self._system(address, port, *more, **options)]
