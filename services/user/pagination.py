"""Pagination: lists are returned in pages, newest first; a token says where the next page begins."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Protocol, TypeVar

from services.runtime import contract
from services.runtime.contract import Place

PAGE_SIZE = 50


class Listable(Protocol):
    """An item with a position in a list."""

    @property
    def id(self) -> str: ...

    @property
    def create_time(self) -> datetime: ...


T = TypeVar("T", bound=Listable)


@dataclass(frozen=True)
class PageRequest:
    """The page that a request asks for."""

    size: int = 0
    """0: PAGE_SIZE."""
    token: str = ""
    """Empty: the first page."""


@dataclass(frozen=True)
class Page(Generic[T]):
    """A page, and the token of the next one; empty after the last page."""

    items: Sequence[T]
    next_token: str


async def fetch_page(request: PageRequest, find: Callable[[int, Place | None], Awaitable[list[T]]]) -> Page[T]:
    """Return the page of the items that `find(size, after)` returns.

    Raises `InvalidArgument` when the token was not issued by a list.
    """
    size = request.size or PAGE_SIZE
    return Page(*await contract.page(size, request.token, find, lambda last: (last.create_time, last.id)))
