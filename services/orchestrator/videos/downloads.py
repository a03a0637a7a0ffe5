"""Downloads: the files of finished videos, and the HLS previews of unfinished ones."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from moneyprinter.errors import FailedPrecondition, NotFound
from services.orchestrator.jobs.model import Job, RenderedVideo, SoundTrack, StoredObject
from services.orchestrator.jobs.store import Store
from services.orchestrator.videos import hls, stored_bytes
from services.orchestrator.videos.ranges import UNCONDITIONAL, Conditions, Selection, select_range
from services.orchestrator.videos.videos import find_video

# The number of bytes that one call reads from storage.
PIECE_BYTES = 1024 * 1024
# The size of a chunk that is sent. It is small, so that progress of a slow client is noticed.
CHUNK_BYTES = 64 * 1024

CONTENT_TYPES = {
    "mp4": "video/mp4",
    "webm": "video/webm",
    "jpg": "image/jpeg",
    "gif": "image/gif",
    "srt": "application/x-subrip",
    "vtt": "text/vtt",
    "ass": "text/x-ssa",
}


@dataclass(frozen=True)
class Download:
    """A file of a finished video, or a range of it."""

    object: StoredObject
    content_type: str
    file_name: str
    """The suggested name of the downloaded file."""
    selection: Selection
    chunks: AsyncIterator[bytes]


@dataclass(frozen=True)
class PreviewFile:
    """A file of a preview: a playlist, a header or a segment."""

    content_type: str
    size_bytes: int
    chunks: AsyncIterator[bytes]


class Objects(Protocol):
    """The object storage."""

    async def get_piece(self, found: StoredObject, offset: int, length: int) -> bytes: ...


@dataclass(frozen=True)
class Downloads:
    """Streams the files of videos to their owners."""

    store: Store
    objects: Objects
    preview_sound: Callable[[SoundTrack], Awaitable[hls.PreviewSound]]
    """Returns a sound track in a form that can be streamed."""

    async def open_file(self, user_id: str, job_id: str, name: str, conditions: Conditions = UNCONDITIONAL) -> Download:
        """Open a file of a finished video; an empty name is the video itself.

        Raises `NotFound` when there is no such video or file, `FailedPrecondition` when the video is not finished.
        """
        job = await find_video(self.store, user_id, job_id)
        if job.failure is not None:
            raise FailedPrecondition(f"there is no file: the job failed. {job.failure.message}", reason="VIDEO_FAILED")
        if job.status == "cancelled":
            raise FailedPrecondition("there is no file: the job was cancelled", reason="VIDEO_CANCELLED")
        if job.result is None:
            raise FailedPrecondition(
                f"the video is not finished yet ({job.progress} %); its status says when it is",
                reason="VIDEO_NOT_READY",
            )
        file = job.result.file(name)
        if file is None:
            names = ", ".join(each.name for each in job.result.files)
            raise NotFound(f"the video has no file {name}; it has {names}", reason="FILE_NOT_FOUND")
        selection = select_range(conditions, file.object.sha256, file.object.size_bytes)
        byte_range = selection.range
        chunks = _no_chunks()
        if selection.status < 300:
            offset, length = (byte_range.offset, byte_range.length) if byte_range else (0, file.object.size_bytes)
            chunks = await stored_bytes.open_stream(
                self._read(file.object, offset, length), stored_bytes.lost_file(file.name)
            )
        is_video = file is job.result.files[0]
        file_name = f"{job.id}.{file.name.rpartition('.')[2]}" if is_video else f"{job.id}-{file.name}"
        return Download(file.object, content_type(file.name), file_name, selection, chunks)

    async def open_preview(self, user_id: str, job_id: str, name: str) -> PreviewFile:
        """Open a file of a video's preview; an empty name is the playlist that names the others.

        Raises `NotFound` when there is no such video or file, `FailedPrecondition` before the first rendered segment.
        """
        job = await find_video(self.store, user_id, job_id)
        rate = job.request.frames_per_second
        segments = hls.playable_segments(await self.store.steps(job.id, "render ", RenderedVideo))
        mixed = await self.store.steps(job.id, "mix", SoundTrack)
        if not segments or not mixed:
            raise _no_preview(job)
        match name:
            case "":
                header = self._read(segments[0].video, 0, segments[0].header_bytes)
                codecs = hls.codec_names(b"".join([chunk async for chunk in header]))
                return _playlist_file(hls.multivariant_playlist(segments, job.request, codecs))
            case hls.VIDEO:
                return _playlist_file(hls.video_playlist(segments, rate, ended=job.status != "processing"))
            case hls.AUDIO:
                return _playlist_file(hls.audio_playlist(mixed[""].seconds))
            case hls.AUDIO_HEADER | hls.AUDIO_FRAGMENT:
                try:
                    piece: hls.ObjectSlice | None = hls.audio_slice(name, await self.preview_sound(mixed[""]))
                except NotFound as failure:
                    raise stored_bytes.lost_preview(name, ended=job.status != "processing") from failure
            case _:
                piece = hls.video_slice(name, segments, rate)
        if piece is None:
            raise NotFound(f"the preview has no file {name}", reason="FILE_NOT_FOUND")
        size_bytes = piece.length or piece.object.size_bytes - piece.offset
        lost = stored_bytes.lost_preview(name, ended=job.status != "processing")
        chunks = await stored_bytes.open_stream(self._read_slice(piece), lost)
        return PreviewFile(piece.content_type, size_bytes, chunks)

    async def _read_slice(self, piece: hls.ObjectSlice) -> AsyncIterator[bytes]:
        is_patched = not piece.patch
        length = piece.length or piece.object.size_bytes - piece.offset
        async for chunk in self._read(piece.object, piece.offset, length):
            yield chunk if is_patched else hls.apply_patch(chunk, piece)
            is_patched = True

    async def _read(self, stored: StoredObject, offset: int, length: int) -> AsyncIterator[bytes]:
        """Yield a range of an object. While the client does not read, one piece is held and no call is open."""
        for start in range(offset, offset + length, PIECE_BYTES):
            piece = memoryview(await self.objects.get_piece(stored, start, min(PIECE_BYTES, offset + length - start)))
            for at in range(0, len(piece), CHUNK_BYTES):
                yield bytes(piece[at : at + CHUNK_BYTES])


def content_type(name: str) -> str:
    """Return the media type of a file, by the extension of its name."""
    return CONTENT_TYPES[name.rpartition(".")[2]]


def _no_preview(job: Job) -> FailedPrecondition:
    is_coming = job.status == "processing"
    return FailedPrecondition(
        f"there is nothing to see yet ({job.progress} %); ask again in a second"
        if is_coming
        else f"there is no preview: the job ended as {job.status}",
        reason="VIDEO_NOT_READY",
        retry_after_seconds=hls.RETRY_SECONDS if is_coming else None,
    )


async def _no_chunks() -> AsyncIterator[bytes]:
    return
    yield b""


def _playlist_file(text: str) -> PreviewFile:
    async def chunks() -> AsyncIterator[bytes]:
        yield text.encode()

    return PreviewFile(hls.PLAYLIST, len(text.encode()), chunks())
