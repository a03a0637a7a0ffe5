"""Pages: lists are told a part at a time, newest first, and a token says where the next part begins."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Protocol, TypeVar

from services.runtime import contract
from services.runtime.contract import Place

PAGE_SIZE = 20


class Listed(Protocol):
    """What has a place in a list."""

    @property
    def create_time(self) -> datetime: ...


T = TypeVar("T", bound=Listed)


async def page(
    size: int, token: str, find: Callable[[int, Place | None], Awaitable[Sequence[T]]], name: Callable[[T], str]
) -> tuple[Sequence[T], str]:
    """The page of what `find(size, after)` finds, and the token of the next; `name` gives the id that a place has."""
    return await contract.page(size or PAGE_SIZE, token, find, lambda last: (last.create_time, name(last)))
