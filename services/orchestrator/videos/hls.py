"""HLS previews: playlists and segments (RFC 8216) of a video from its first rendered segment on.

A rendered segment is an MP4 header, which is the same for all segments, and one fragment. The stored fragment starts at
time 0. When it is served, its start time in the video is written into it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from services.orchestrator.jobs import timeline
from services.orchestrator.jobs.model import RenderedVideo, StoredObject, VideoRequest
from services.orchestrator.videos import codecs

PLAYLIST = "application/vnd.apple.mpegurl"
VIDEO, AUDIO = "video.m3u8", "audio.m3u8"
VIDEO_HEADER, AUDIO_HEADER, AUDIO_FRAGMENT = "video-init.mp4", "audio-init.mp4", "audio.m4s"

START = "#EXT-X-START:TIME-OFFSET=0"
"""Without it, players start a growing stream at its end. ffmpeg accepts it in media playlists only."""
SOUND_CODEC = "mp4a.40.2"
RETRY_SECONDS = 1.0
"""The Retry-After of a preview without segments."""

_SEGMENT = re.compile(r"(0|[1-9][0-9]{0,5})\.m4s")


@dataclass(frozen=True)
class PreviewSound:
    """A sound track that can be streamed."""

    audio: StoredObject
    header_bytes: int
    seconds: float


@dataclass(frozen=True)
class ObjectSlice:
    """A range of bytes of a stored object, with a patch that replaces a few of them."""

    object: StoredObject
    content_type: str
    offset: int = 0
    length: int = 0
    """0: up to the end of the object."""
    patch_offset: int = 0
    """The position of `patch`, relative to `offset`."""
    patch: bytes = b""


def playable_segments(rendered: Mapping[str, RenderedVideo]) -> list[RenderedVideo]:
    """Return the segments from the first one up to the first gap. The keys are their numbers: `0`, `1` and so on."""
    found: list[RenderedVideo] = []
    while segment := rendered.get(str(len(found))):
        found.append(segment)
    return found


def codec_names(header: bytes) -> str:
    """Return the `CODECS` attribute of a preview from the MP4 header of its segments; empty when they are unknown."""
    found = codecs.codec_names(header)
    return ",".join([*found, SOUND_CODEC]) if found else ""


def multivariant_playlist(segments: Sequence[RenderedVideo], request: VideoRequest, codec_list: str = "") -> str:
    """Return the playlist that names the video and audio playlists, and their codecs."""
    seconds = sum(segment.frame_count for segment in segments) / request.frames_per_second
    bits = ceil(8 * sum(segment.video.size_bytes for segment in segments) / seconds) + 200_000
    lines = (
        "#EXTM3U",
        "#EXT-X-VERSION:7",
        "#EXT-X-INDEPENDENT-SEGMENTS",
        f'#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="sound",NAME="sound",DEFAULT=YES,AUTOSELECT=YES,URI="preview/{AUDIO}"',
        f"#EXT-X-STREAM-INF:BANDWIDTH={bits},RESOLUTION={request.width}x{request.height},"
        f'FRAME-RATE={request.frames_per_second}.000,AUDIO="sound"' + (f',CODECS="{codec_list}"' if codec_list else ""),
        f"preview/{VIDEO}",
    )
    return "\n".join(lines) + "\n"


def video_playlist(segments: Sequence[RenderedVideo], frames_per_second: int, *, ended: bool) -> str:
    """Return the playlist of the segments. It grows until the job has ended."""
    lines = [
        "#EXTM3U",
        "#EXT-X-VERSION:7",
        f"#EXT-X-TARGETDURATION:{ceil(timeline.LONGEST_SECONDS)}",
        "#EXT-X-MEDIA-SEQUENCE:0",
        "#EXT-X-PLAYLIST-TYPE:EVENT",
        "#EXT-X-INDEPENDENT-SEGMENTS",
        START,
        f'#EXT-X-MAP:URI="{VIDEO_HEADER}"',
    ]
    for number, segment in enumerate(segments):
        lines += [f"#EXTINF:{segment.frame_count / frames_per_second:.6f},", f"{number}.m4s"]
    return "\n".join([*lines, *(["#EXT-X-ENDLIST"] if ended else [])]) + "\n"


def audio_playlist(seconds: float) -> str:
    """Return the playlist of the sound track, which is complete from the start."""
    lines = (
        "#EXTM3U",
        "#EXT-X-VERSION:7",
        f"#EXT-X-TARGETDURATION:{ceil(seconds)}",
        "#EXT-X-MEDIA-SEQUENCE:0",
        "#EXT-X-PLAYLIST-TYPE:VOD",
        f'#EXT-X-MAP:URI="{AUDIO_HEADER}"',
        f"#EXTINF:{seconds:.6f},",
        AUDIO_FRAGMENT,
        "#EXT-X-ENDLIST",
    )
    return "\n".join(lines) + "\n"


def audio_slice(name: str, sound: PreviewSound) -> ObjectSlice:
    """Return the slice for the file name `AUDIO_HEADER` or `AUDIO_FRAGMENT`."""
    if name == AUDIO_HEADER:
        return ObjectSlice(sound.audio, "audio/mp4", length=sound.header_bytes)
    return ObjectSlice(sound.audio, "audio/mp4", offset=sound.header_bytes)


def video_slice(name: str, segments: Sequence[RenderedVideo], frames_per_second: int) -> ObjectSlice | None:
    """Return the slice for a file name of the video playlist; None when there is no such file, or not yet."""
    if name == VIDEO_HEADER:
        return ObjectSlice(segments[0].video, "video/mp4", length=segments[0].header_bytes)
    found = _SEGMENT.fullmatch(name)
    if not found or int(found[1]) >= len(segments):
        return None
    segment = segments[int(found[1])]
    first = sum(each.frame_count for each in segments[: int(found[1])])
    ticks = first * segment.ticks_per_second // frames_per_second
    return ObjectSlice(
        segment.video,
        "video/mp4",
        offset=segment.header_bytes,
        patch_offset=segment.time_offset - segment.header_bytes,
        patch=ticks.to_bytes(8, "big"),
    )


def apply_patch(chunk: bytes, piece: ObjectSlice) -> bytes:
    """Return the first bytes of a slice with its patch applied."""
    at = piece.patch_offset
    return chunk[:at] + piece.patch + chunk[at + len(piece.patch) :]
