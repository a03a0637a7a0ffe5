"""Threads: run blocking work of the content service off the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

# Captions of a long script take seconds of CPU time. With threads of their own they do not keep other services of the
# same process from the default ones, which hash passwords and access files.
_EXECUTOR = ThreadPoolExecutor(2, "content")


async def run_in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function in a thread of the content service, and return or raise what it does."""
    return await asyncio.get_running_loop().run_in_executor(_EXECUTOR, partial(function, *args, **kwargs))
