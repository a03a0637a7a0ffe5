"""Measures one user's response times while another user tries to exhaust the platform.

The attacks are those of `tests/security`. Each runs in a process of its own against a whole platform.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from rich.table import Table

from services.embedded import authority
from services.runtime.config import PORTS
from tests.security.bystander import Scene, Times, scene
from tests.security.exhaustion import ATTACKS


async def measure(folder: Path, rounds: int, names: Sequence[str], *options: str) -> Table:
    """Measure the second user's calls on `moneyprinter up` with `options`: calm, and during each attack."""
    certificates = folder / "certificates"
    authority.issue_certificates(certificates, PORTS, trust_domain="cluster.local", namespace="moneyprinter")
    title = f"A second user's calls, moneyprinter up {' '.join(options)}"
    columns = (
        "attack",
        "p50 ms",
        "p95 ms",
        "max ms",
        "failed",
        "media work p50 ms",
        "media work max ms",
        "responses to the attacker",
    )
    table = Table(*columns, title=title, caption="Target for calls without media work: a p95 of at most 200 ms.")
    async with scene(folder, certificates, *options) as here:
        for name in ("", *(names or ATTACKS)):
            times = Times()
            async with here.attacked(name) if name else _calm() as answers:
                for _ in range(rounds):
                    await here.bystander.make_calls(times, {**here.bystander.quick_calls, **here.bystander.media_calls})
            row = [name or "none", *_row(here, times), answers]
            table.add_row(*row)
            # The whole table comes after all attacks.
            print(*row, sep=", ", flush=True)
            for failure in times.failures:
                print(f"{name or 'none'}: {failure}")
    return table


@contextlib.asynccontextmanager
async def _calm() -> AsyncIterator[str]:
    yield ""


def _row(here: Scene, times: Times) -> list[str]:
    quick = sorted(seconds for call in here.bystander.quick_calls for seconds in times.seconds[call])
    works = sorted(seconds for call in here.bystander.media_calls for seconds in times.seconds[call])

    def ms(found: Sequence[float], share: float) -> str:
        return f"{1000 * found[min(len(found) - 1, int(len(found) * share))]:.0f}"

    spread = [ms(quick, 0.5), ms(quick, 0.95), ms(quick, 1.0)]
    return [*spread, str(len(times.failures)), ms(works, 0.5), ms(works, 1.0)]
