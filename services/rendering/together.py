"""Together: do several things at once."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar, cast

from moneyprinter.errors import Error

A = TypeVar("A")
B = TypeVar("B")


async def both(one: Coroutine[Any, Any, A], other: Coroutine[Any, Any, B]) -> tuple[A, B]:
    """Do two things at once; when one fails, the other is cancelled, and its error is raised."""
    first, second = await all_of(cast(Coroutine[Any, Any, Any], one), other)
    return first, second


async def all_of(*work: Coroutine[Any, Any, A]) -> list[A]:
    """Do things of a kind at once; when one fails, the others are cancelled, and its error is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(each) for each in work]
    except* Error as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]
