"""Pagination: lists in pages, newest first; a page token holds the position of the last item."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, NamedTuple, Protocol, TypeVar

from moneyprinter.errors import InvalidArgument, Violation

T = TypeVar("T")

Cursor = tuple[datetime, str]
"""The position of an item in a list, newest first: its creation time and its id."""

PAGE_SIZE = 20


class Item(Protocol):
    """An item of a list that is ordered by creation time."""

    @property
    def id(self) -> str: ...

    @property
    def create_time(self) -> datetime: ...


def item_cursor(item: Item) -> Cursor:
    """Return the position of an item."""
    return item.create_time, item.id


@dataclass(frozen=True)
class PageRequest:
    """The `page_size` and `page_token` of a request."""

    size: int = 0
    """0: the default."""
    token: str = ""
    """Empty: the first page."""


class Page(NamedTuple, Generic[T]):
    """One page of a list."""

    items: Sequence[T]
    next_token: str
    """The token of the next page; empty on the last one."""


async def list_page(
    request: PageRequest,
    find: Callable[[int, Cursor | None], Awaitable[Sequence[T]]],
    cursor_of: Callable[[T], Cursor],
    default_size: int = PAGE_SIZE,
) -> Page[T]:
    """Return one page. `find(size, after)` returns up to `size` items after a cursor, or the newest ones after None.

    Raises `InvalidArgument` when the token was not returned by a list.
    """
    size = request.size or default_size
    found = await find(size + 1, _parse_token(request.token))
    if len(found) <= size:
        return Page(found, "")
    create_time, last_id = cursor_of(found[size - 1])
    token = base64.urlsafe_b64encode(f"{create_time.isoformat()} {last_id}".encode()).decode()
    return Page(found[:size], token)


def _parse_token(token: str) -> Cursor | None:
    if not token:
        return None
    try:
        text, _, last_id = base64.urlsafe_b64decode(token).decode().partition(" ")
        create_time = datetime.fromisoformat(text)
    except (binascii.Error, ValueError):
        create_time, last_id = None, ""
    if create_time is None or create_time.tzinfo is None or "\0" in last_id:
        rule = "is none that a list gave; leave it out to begin at the newest"
        raise InvalidArgument(
            f"page_token: {rule}", reason="REQUEST_INVALID", violations=[Violation("page_token", rule)]
        )
    return create_time, last_id
