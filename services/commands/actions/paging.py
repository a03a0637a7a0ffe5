"""Paging: reads all pages of a list."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any


async def list_pages(fetch_page: Callable[[Any], Awaitable[Any]], request: Any) -> AsyncIterator[Any]:
    """Yield the pages of a list, from the requested one to the last."""
    while True:
        page = await fetch_page(request)
        yield page
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token
