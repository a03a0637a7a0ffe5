"""Progress is streamed before the response; a failed or cancelled call leaves no work behind."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from moneyprinter.errors import Unavailable
from services.runtime.progress import OnProgress, part_of, rising, stream_progress


async def test_reports_come_first_and_the_response_last() -> None:
    async def work(on_progress: OnProgress) -> str:
        for fraction in (0.0, 0.5, 0.25, 1.0):
            on_progress(fraction)
            await asyncio.sleep(0.001)
        return "done"

    assert [each async for each in stream_progress(work, str)] == ["0.0", "0.5", "1.0", "done"]


async def test_a_slow_reader_receives_the_newest_report() -> None:
    reported = asyncio.Event()

    async def work(on_progress: OnProgress) -> str:
        on_progress(0.0)
        await reported.wait()
        on_progress(0.1)
        on_progress(0.2)
        await asyncio.sleep(0.001)
        return "done"

    async with aclosing(stream_progress(work, str)) as responses:
        assert await anext(responses) == "0.0"
        reported.set()
        assert [each async for each in responses] == ["0.2", "done"]


async def test_the_error_of_the_work_is_raised() -> None:
    async def work(on_progress: OnProgress) -> str:
        raise Unavailable("away", reason="SERVICE_UNAVAILABLE")

    with pytest.raises(Unavailable):
        _ = [each async for each in stream_progress(work, str)]


async def test_closing_the_stream_cancels_the_work_and_waits_for_it() -> None:
    ended = False

    async def work(on_progress: OnProgress) -> str:
        nonlocal ended
        on_progress(0.5)
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.001)
            ended = True
        return "done"

    async with aclosing(stream_progress(work, str)) as responses:
        assert await anext(responses) == "0.5"
    assert ended


def test_parts_are_scaled_and_never_fall() -> None:
    reports: list[float] = []
    report = rising(part_of(reports.append, 0.5, 0.9))
    for fraction in (0.0, 0.5, 0.25, 1.0):
        report(fraction)
    assert reports == pytest.approx([0.5, 0.7, 0.7, 0.9])
