"""Failpoints: kill an instance between two changes of state, for tests. Without the variable there are none.

`MONEYPRINTER_FAILPOINT=17@/some/file` kills the process after 17 changes of state, `record:3@/some/file` after it has
recorded three results. The process creates the file first; when the file exists, nothing happens, so that the process
which claims the job next survives.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

from services.orchestrator.jobs.store import Store

VARIABLE = "MONEYPRINTER_FAILPOINT"

CHANGES = (
    "create",
    "claim",
    "advance",
    "record",
    "complete",
    "fail",
    "cancel",
    "retry",
    "delete",
    "forget_steps",
    *("begin_review", "approve", "record_shared"),
)
"""The methods of the job store that change the state of a job."""

Die = Callable[[], Awaitable[None]]


def with_failpoint(store: Store) -> Store:
    """Returns the store; with the variable, a store that kills the process at the failpoint."""
    point, _, file = os.environ.get(VARIABLE, "").partition("@")
    if not point:
        return store

    async def die() -> None:
        try:
            Path(file).touch(exist_ok=False)
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)

    return kill_at(store, point, die)


def kill_at(store: Store, point: str, die: Die) -> Store:
    """Returns a store that calls `die` at a failpoint: `17`, `record:3`."""
    return cast(Store, _FailingStore(store, point, die))


class _FailingStore:
    def __init__(self, store: Store, point: str, die: Die) -> None:
        name, _, number = point.rpartition(":")
        self._store = store
        self._name = name
        self._number = int(number)
        self._die = die
        self._counts: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if name not in CHANGES:
            return method

        async def change(*arguments: Any) -> Any:
            result = await method(*arguments)
            for counted in ("", name):
                self._counts[counted] += 1
            if self._name in ("", name) and self._counts[self._name] == self._number:
                await self._die()
            return result

        return change
