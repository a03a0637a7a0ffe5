"""Videos: fetch the tracks of a video, finish it, check it and store it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from services.rendering import check, finish, previews
from services.rendering.check import Measurements
from services.rendering.finish import OutputSpec
from services.runtime.progress import OnProgress, ignore_progress, part_of
from services.runtime.tasks import run_all

# The parts of the whole work that are done when the tracks are fetched, and when the video is finished and checked.
FETCHED, CHECKED = 0.1, 0.95
# The shares of the steps between, as measured with a video of 20 minutes.
_SHARES = {"mux": 0.55, "check": 0.25, "previews": 0.1, "animation": 0.1}

T = TypeVar("T")
Wait = Callable[[], Awaitable[object]]


class Objects(Protocol[T]):
    """The store of tracks and videos."""

    async def get_file(self, source: T, path: Path) -> None:
        """Write an object to a file."""

    async def put_file(self, key: str, path: Path, before_end: Wait | None = None) -> T:
        """Store a file. The object exists once `before_end` has returned, while its bytes are sent before."""


@dataclass(frozen=True)
class FinishRequest(Generic[T]):
    """The request to finish a video."""

    video_tracks: tuple[T, ...]
    """In the video's own size, then in the other sizes of the spec."""
    audio_track: T
    spec: OutputSpec
    folder: str
    """The key prefix of the results."""


@dataclass(frozen=True)
class Video(Generic[T]):
    """A finished video."""

    files: tuple[tuple[str, T], ...]
    """Names and objects, the video itself first."""
    measurements: Measurements
    poster_seconds: float
    """The time of the poster's frame in the video."""


@dataclass(frozen=True)
class VideoFinisher(Generic[T]):
    """Finishes videos and stores them."""

    objects: Objects[T]
    scratch: Callable[[], AbstractAsyncContextManager[Path]]
    ffmpeg: Path

    async def finish(self, request: FinishRequest[T], on_progress: OnProgress = ignore_progress) -> Video[T]:
        """Finish a video. `on_progress` receives the part that is done, 0 to 1.

        Raises `FailedPrecondition` with the reason RENDER_FAILED when a step fails, and QUALITY_CHECK_FAILED when the
        result fails its check.
        """
        on_progress(0.0)
        async with self.scratch() as folder:
            await run_all(
                self.objects.get_file(request.audio_track, folder / finish.AUDIO_TRACK),
                *(
                    self.objects.get_file(track, folder / finish.video_track_file(index))
                    for index, track in enumerate(request.video_tracks)
                ),
            )
            on_progress(FETCHED)
            progress = _WeightedProgress(part_of(on_progress, FETCHED, CHECKED))
            (measurements, videos), poster_seconds = await self._make_files(request, folder, progress)
            on_progress(CHECKED)
            images = await run_all(*(self._store(request, folder, name) for name in request.spec.previews))
        return Video((*videos, *images), measurements, poster_seconds)

    async def take_poster(self, video: T, folder: str) -> tuple[str, T]:
        """Store a frame of a segment as a video's poster. Returns the poster's name and object.

        Raises `FailedPrecondition` with the reason RENDER_FAILED when the segment cannot be decoded.
        """
        async with self.scratch() as scratch:
            await self.objects.get_file(video, scratch / finish.VIDEO_TRACK)
            await previews.write_previews(scratch)
            key = f"{folder}/{finish.POSTER}"
            return finish.POSTER, await self.objects.put_file(key, scratch / finish.POSTER)

    async def _make_files(
        self, request: FinishRequest[T], folder: Path, progress: _WeightedProgress
    ) -> tuple[tuple[Measurements, list[tuple[str, T]]], float]:
        """Mux, check and store the videos, and make their previews. Returns also the poster's time in seconds."""
        spec = request.spec
        # Videos are large. They are sent to the store while they are checked, and exist there once all checks passed.
        checked = asyncio.Barrier(2 + len(spec.videos))
        stored, poster_seconds = await run_all(
            self._mux_and_store(request, folder, checked, progress),
            self._write_previews(spec, folder, checked, progress),
        )
        if spec.animation:
            await finish.make_animation(folder, self.ffmpeg, spec.seconds, progress.step("animation"))
        return stored, poster_seconds

    async def _mux_and_store(
        self, request: FinishRequest[T], folder: Path, checked: asyncio.Barrier, progress: _WeightedProgress
    ) -> tuple[Measurements, list[tuple[str, T]]]:
        spec = request.spec
        await finish.mux(folder, self.ffmpeg, spec, progress.step("mux"))
        storing = run_all(*(self._store(request, folder, name, checked.wait) for name in spec.videos))
        measurements, stored = await run_all(self._check(spec, folder, checked, progress), storing)
        return measurements, list(stored)

    async def _check(
        self, spec: OutputSpec, folder: Path, checked: asyncio.Barrier, progress: _WeightedProgress
    ) -> Measurements:
        measurements = await check.check_video(folder, self.ffmpeg, spec, progress.step("check"))
        await checked.wait()
        return measurements

    async def _write_previews(
        self, spec: OutputSpec, folder: Path, checked: asyncio.Barrier, progress: _WeightedProgress
    ) -> float:
        """Write poster and thumbnails, and refuse a black video. Returns the poster's time in seconds."""
        report = await previews.write_previews(folder)
        progress.step("previews")(1.0)
        # The few examined frames may be black, as in a short video that fades in: then all frames are examined.
        if report.black and not spec.may_be_black and await check.is_black(folder, self.ffmpeg):
            raise check.check_failed(f"all of its {spec.seconds:.2f} s are black")
        await checked.wait()
        return report.poster_seconds

    async def _store(
        self, request: FinishRequest[T], folder: Path, name: str, checked: Wait | None = None
    ) -> tuple[str, T]:
        return name, await self.objects.put_file(f"{request.folder}/{name}", folder / name, checked)


class _WeightedProgress:
    """The progress of several steps that run at once, as one."""

    def __init__(self, on_progress: OnProgress) -> None:
        self._done: dict[str, float] = {}
        self._on_progress = on_progress

    def step(self, name: str) -> OnProgress:
        """Returns the callback for the progress of a step, one of `_SHARES`."""

        def report(fraction: float) -> None:
            self._done[name] = max(fraction, self._done.get(name, 0.0))
            self._on_progress(min(1.0, sum(_SHARES[step] * done for step, done in self._done.items())))

        return report
