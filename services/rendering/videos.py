"""Videos: fetch picture and sound, finish the video, check it and keep it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from services.rendering import check, finish, pictures
from services.rendering.check import Measures
from services.rendering.finish import Form
from services.runtime.progress import OnProgress, ignore_progress, part_of
from services.runtime.tasks import run_all

# The parts of the work that are done when the parts are here, and the video is made and checked.
FETCHED, CHECKED = 0.1, 0.95
# Of what is between, how much each piece of work is: as measured of a video of 20 minutes.
_SHARES = {"mux": 0.55, "measure": 0.25, "pictures": 0.1, "animation": 0.1}

T = TypeVar("T")
Wait = Callable[[], Awaitable[object]]


class Objects(Protocol[T]):
    """Where parts and videos are kept."""

    async def get_file(self, source: T, path: Path) -> None:
        """Write an object to a file."""

    async def put_file(self, key: str, path: Path, before_end: Wait | None = None) -> T:
        """Store a file: send it, wait, and then let it be there."""


@dataclass(frozen=True)
class Order(Generic[T]):
    """A video that is to be finished."""

    pictures: tuple[T, ...]
    """In the video's own size, then in the others of the form."""
    sound: T
    form: Form
    folder: str
    """Where the results are kept."""


@dataclass(frozen=True)
class Video(Generic[T]):
    """A finished video."""

    files: tuple[tuple[str, T], ...]
    """By their names, the video itself first."""
    measures: Measures
    poster_seconds: float
    """Where in it the poster is from."""


@dataclass(frozen=True)
class Finisher(Generic[T]):
    """What videos are finished with."""

    objects: Objects[T]
    scratch: Callable[[], AbstractAsyncContextManager[Path]]
    ffmpeg: Path

    async def finish(self, order: Order[T], on_progress: OnProgress = ignore_progress) -> Video[T]:
        """Finish a video. Returns it.

        Raises `FailedPrecondition` with the reason QUALITY_CHECK_FAILED when the result is not as it should be.
        """
        form = order.form
        on_progress(0.0)
        async with self.scratch() as folder:
            await run_all(
                self.objects.get_file(order.sound, folder / finish.SOUND),
                *(
                    self.objects.get_file(shown, folder / finish.picture(place))
                    for place, shown in enumerate(order.pictures)
                ),
            )
            on_progress(FETCHED)
            progress = _Progress(part_of(on_progress, FETCHED, CHECKED))
            (measures, videos), poster_seconds = await self._worked(order, folder, progress)
            on_progress(CHECKED)
            previews = await run_all(*(self._stored(order, folder, name) for name in form.previews))
        return Video((*videos, *previews), measures, poster_seconds)

    async def take_poster(self, video: T, folder: str) -> tuple[str, T]:
        """Keep the first frame of a segment as a video's poster: its name and the object. Raises FailedPrecondition."""
        async with self.scratch() as scratch:
            await self.objects.get_file(video, scratch / finish.PICTURE)
            await pictures.take(scratch)
            key = f"{folder}/{finish.POSTER}"
            return finish.POSTER, await self.objects.put_file(key, scratch / finish.POSTER)

    async def _worked(
        self, order: Order[T], folder: Path, progress: _Progress
    ) -> tuple[tuple[Measures, list[tuple[str, T]]], float]:
        """Make, check and store the videos, and make what shows what is in them."""
        form = order.form
        # Videos are large: they are sent to be stored while they are checked, and are there when all is found good.
        good = asyncio.Barrier(2 + len(form.videos))
        making, seeing = self._made(order, folder, good, progress), self._seen(form, folder, good, progress)
        made, poster_seconds = await run_all(making, seeing)
        if form.animation:
            await finish.animate(folder, self.ffmpeg, form.seconds, progress.of("animation"))
        return made, poster_seconds

    async def _made(
        self, order: Order[T], folder: Path, good: asyncio.Barrier, progress: _Progress
    ) -> tuple[Measures, list[tuple[str, T]]]:
        """Make the videos, measure and store them."""
        form = order.form
        await finish.mux(folder, self.ffmpeg, form, progress.of("mux"))
        storing = run_all(*(self._stored(order, folder, name, good.wait) for name in form.videos))
        measures, stored = await run_all(self._measured(form, folder, good, progress), storing)
        return measures, list(stored)

    async def _measured(self, form: Form, folder: Path, good: asyncio.Barrier, progress: _Progress) -> Measures:
        measures = await check.measure(folder, self.ffmpeg, form, progress.of("measure"))
        await good.wait()
        return measures

    async def _seen(self, form: Form, folder: Path, good: asyncio.Barrier, progress: _Progress) -> float:
        """Take the pictures that show what is in the video; when the poster is shown, in seconds."""
        seen = await pictures.take(folder)
        progress.of("pictures")(1.0)
        # Should the few pictures that were looked at be black, as in a short video that fades in, all are.
        if seen.black and not form.may_be_black and await check.is_black(folder, self.ffmpeg):
            raise check.failed(f"all of its {form.seconds:.2f} s are black")
        await good.wait()
        return seen.poster_seconds

    async def _stored(self, order: Order[T], folder: Path, name: str, good: Wait | None = None) -> tuple[str, T]:
        return name, await self.objects.put_file(f"{order.folder}/{name}", folder / name, good)


class _Progress:
    """Adds up how much is done of the pieces of work that go on at once."""

    def __init__(self, on_progress: OnProgress) -> None:
        self._done: dict[str, float] = {}
        self._on_progress = on_progress

    def of(self, piece: str) -> OnProgress:
        """Takes how much is done of a piece of work, one of `_SHARES`."""

        def report(fraction: float) -> None:
            self._done[piece] = max(fraction, self._done.get(piece, 0.0))
            self._on_progress(min(1.0, sum(_SHARES[piece] * done for piece, done in self._done.items())))

        return report
