"""Pages: lists are told a part at a time, newest first, and a token says where the next part begins."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Protocol, TypeVar

from services.runtime import contract
from services.runtime.contract import Place

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

    items: Sequence[T]
    next_token: str


async def page(wanted: Wanted, find: Callable[[int, Place | None], Awaitable[list[T]]]) -> Page[T]:
    """The page of what `find(size, after)` finds."""
    size = wanted.size or PAGE_SIZE
    return Page(*await contract.page(size, wanted.token, find, lambda last: (last.create_time, last.id)))
