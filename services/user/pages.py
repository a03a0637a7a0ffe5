"""Pages: lists are told a part at a time, newest first, and a token says where the next part begins."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Protocol, TypeVar

from moneyprinter.errors import InvalidArgument
from services.user.store import Place

PAGE_SIZE = 50


class Listed(Protocol):
    """What has a place in a list."""

    @property
    def id(self) -> str: ...

    @property
    def create_time(self) -> datetime: ...


T = TypeVar("T", bound=Listed)


@dataclass(frozen=True)
class Wanted:
    """The page that is asked for."""

    size: int = 0
    """0: as many as usual."""
    token: str = ""
    """Empty: the first."""


@dataclass(frozen=True)
class Page(Generic[T]):
    """A page, and the token of the next; empty on the last one."""

    items: list[T]
    next_token: str


async def page(wanted: Wanted, find: Callable[[int, Place | None], Awaitable[list[T]]]) -> Page[T]:
    """The page of what `find(size, after)` finds."""
    size = wanted.size or PAGE_SIZE
    found = await find(size + 1, _place(wanted.token))
    return Page(found[:size], _token(found[size - 1]) if len(found) > size else "")


def _token(last: Listed) -> str:
    return base64.urlsafe_b64encode(f"{last.create_time.isoformat()} {last.id}".encode()).decode()


def _place(token: str) -> Place | None:
    if not token:
        return None
    try:
        moment, _, last_id = base64.urlsafe_b64decode(token).decode().partition(" ")
        time = datetime.fromisoformat(moment)
    except (binascii.Error, ValueError):
        time, last_id = None, ""
    if time is None or time.tzinfo is None or "\0" in last_id:
        raise InvalidArgument(
            "page_token: is none that a list gave; leave it out to begin at the newest", reason="REQUEST_INVALID"
        )
    return time, last_id
