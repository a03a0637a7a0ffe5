"""Pages: lists are told a part at a time, newest first, and a token says where the next part begins."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Protocol, TypeVar

from moneyprinter.errors import InvalidArgument

PAGE_SIZE = 20

Place = tuple[datetime, str]
"""Where something stands in a list: when it was made, and its id."""


class Listed(Protocol):
    """What has a place in a list."""

    @property
    def create_time(self) -> datetime: ...


T = TypeVar("T", bound=Listed)


async def page(
    size: int, token: str, find: Callable[[int, Place | None], Awaitable[Sequence[T]]], name: Callable[[T], str]
) -> tuple[Sequence[T], str]:
    """The page of what `find(size, after)` finds, and the token of the next; `name` gives the id that a place has."""
    size = size or PAGE_SIZE
    found = await find(size + 1, _place(token))
    if len(found) <= size:
        return found, ""
    last = found[size - 1]
    return found[:size], base64.urlsafe_b64encode(f"{last.create_time.isoformat()} {name(last)}".encode()).decode()


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
