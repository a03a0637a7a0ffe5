"""Videos: fetch picture and sound, finish the video, check it and keep it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from services.rendering import check, finish, pictures
from services.rendering.check import Measures
from services.rendering.finish import Form
from services.rendering.together import all_of, both

# The parts of the work that are done when the parts are here, and the video is made and checked.
FETCHED, CHECKED = 0.2, 0.9

T = TypeVar("T")


class Objects(Protocol[T]):
    """Where parts and videos are kept."""

    async def get_file(self, source: T, path: Path) -> None:
        """Write an object to a file."""

    async def put_file(self, key: str, path: Path) -> T:
        """Store a file."""


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


@dataclass(frozen=True)
class Finisher(Generic[T]):
    """What videos are finished with."""

    objects: Objects[T]
    scratch: Callable[[], AbstractAsyncContextManager[Path]]
    ffmpeg: Path

    async def finish(self, order: Order[T]) -> AsyncGenerator[float | Video[T], None]:
        """Finish a video: yields the part of the work that is done, then the video.

        Raises FailedPrecondition with the reason QUALITY_CHECK_FAILED when the result is not as it should be.
        """
        form = order.form
        yield 0.0
        async with self.scratch() as folder:
            await all_of(
                self.objects.get_file(order.sound, folder / finish.SOUND),
                *(
                    self.objects.get_file(shown, folder / finish.picture(place))
                    for place, shown in enumerate(order.pictures)
                ),
            )
            yield FETCHED
            measures, seen = await both(self._made(folder, form), pictures.take(folder))
            # Should the few pictures that were looked at be black, as in a short video that fades in, all are.
            if seen.black and await check.is_black(folder, self.ffmpeg):
                raise check.failed(f"all of its {measures.seconds:.2f} s are black")
            if form.animation:
                await finish.animate(folder, self.ffmpeg, form.seconds)
            yield CHECKED
            stored = await all_of(
                *(self.objects.put_file(f"{order.folder}/{name}", folder / name) for name in form.files)
            )
        yield Video(tuple(zip(form.files, stored, strict=True)), measures)

    async def _made(self, folder: Path, form: Form) -> Measures:
        await finish.mux(folder, self.ffmpeg, form)
        return await check.measure(folder, self.ffmpeg, form)
