"""Failpoints: let an instance die between two changes of state, for tests; a process that is not told to has none.

`MONEYPRINTER_FAILPOINT=17@/some/file` kills the process when it has made 17 changes of state, and
`record:3@/some/file` when it has recorded three results; the file is made first, and where it is already,
nothing happens: the process that takes over lives.
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

CHANGES = ("create", "take", "advance", "record", "complete", "fail", "cancel", "retry", "delete", "forget_steps")
"""The methods of a store that change a job's state."""

Die = Callable[[], Awaitable[None]]


def armed(store: Store) -> Store:
    """The store, whose caller dies where the environment says so."""
    point, _, file = os.environ.get(VARIABLE, "").partition("@")
    if not point:
        return store

    async def die() -> None:
        try:
            Path(file).touch(exist_ok=False)
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)

    return dying(store, point, die)


def dying(store: Store, point: str, die: Die) -> Store:
    """A store whose caller dies by `die` at a point: `17`, `record:3`."""
    return cast(Store, _Dying(store, point, die))


class _Dying:
    def __init__(self, store: Store, point: str, die: Die) -> None:
        name, _, number = point.rpartition(":")
        self._store = store
        self._name = name
        self._number = int(number)
        self._die = die
        self._done: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if name not in CHANGES:
            return method

        async def change(*arguments: Any) -> Any:
            result = await method(*arguments)
            for counted in ("", name):
                self._done[counted] += 1
            if self._name in ("", name) and self._done[self._name] == self._number:
                await self._die()
            return result

        return change
