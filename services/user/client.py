"""Client: where a request comes from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Client:
    """The address of a request, and the program that it claims to come from."""

    address: str
    user_agent: str
