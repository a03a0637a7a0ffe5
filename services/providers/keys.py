"""Keys: the keys of a provider in rotation. A key that the provider limits rests, one that it refuses is left out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import timedelta

from services.providers.failures import FailureKind, ProviderFailure

# The rest of a key after a failure without Retry-After.
_RESTS = {
    FailureKind.RATE_LIMITED: timedelta(seconds=30),
    # The operator may repair these at the provider, without a new key.
    FailureKind.UNAUTHORIZED: timedelta(minutes=10),
    FailureKind.QUOTA_EXHAUSTED: timedelta(minutes=10),
}
_CAUSES = {
    FailureKind.RATE_LIMITED: "limits the calls of every key",
    FailureKind.UNAUTHORIZED: "refuses every key; give it a valid one",
    FailureKind.QUOTA_EXHAUSTED: "has no quota left for any key; add credit there",
}
MAX_REST = timedelta(hours=24)


class KeyRing:
    """The keys of one provider. Calls take the same key until it rests.

    Args:
        name: The name of the provider, for errors.
        keys: The keys. They appear in no error, log or `repr`.
        clock: Returns seconds of a monotonic clock.
    """

    def __init__(self, name: str, keys: Sequence[str] = (), clock: Callable[[], float] = time.monotonic) -> None:
        self.name = name
        self._clock = clock
        self._keys: tuple[str, ...] = ()
        self._resting: dict[str, tuple[float, FailureKind]] = {}
        self.replace(keys)

    def __repr__(self) -> str:
        return f"KeyRing({self.name!r}, {len(self._keys)} keys)"

    def __len__(self) -> int:
        return len(self._keys)

    def replace(self, keys: Sequence[str]) -> bool:
        """Replace the keys; those that stay keep their rest. Returns whether the keys differ from those before."""
        new = tuple(dict.fromkeys(keys))
        changed, self._keys = new != self._keys, new
        self._resting = {key: rest for key, rest in self._resting.items() if key in new}
        return changed

    def reset(self) -> None:
        """End the rest of all keys."""
        self._resting.clear()

    def current(self) -> str:
        """Return the first key that does not rest.

        Raises `ProviderFailure` when there is none, with the time until the first one may be used.
        """
        now = self._clock()
        for key in self._keys:
            if self._resting.get(key, (now, None))[0] <= now:
                return key
        if not self._keys:
            message = f"{self.name} has no key; give it one, or take it out of the order of providers"
            raise ProviderFailure(self.name, FailureKind.UNAUTHORIZED, message)
        until, kind = min(self._resting.values(), key=lambda rest: rest[0])
        raise ProviderFailure(self.name, kind, f"{self.name} {_CAUSES[kind]}", timedelta(seconds=until - now))

    def rest(self, key: str, kind: FailureKind, retry_after: timedelta | None = None) -> None:
        """Leave a key out after a failure: until `retry_after`, else 30 s after RATE_LIMITED and 10 min otherwise."""
        if key in self._keys and kind in _RESTS:
            seconds = min(retry_after or _RESTS[kind], MAX_REST).total_seconds()
            self._resting[key] = (self._clock() + seconds, kind)
