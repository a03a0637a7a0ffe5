"""Preview: a video as an HLS stream (RFC 8216), from its first finished segment on.

A segment is one fragment after a header that all segments share. As it is stored it begins at 0, wherever it is
shown; where it is handed out, the time of its first frame is written into it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from services.orchestrator.jobs import timeline
from services.orchestrator.jobs.model import PreviewSound, RenderedVideo, StoredObject, VideoRequest
from services.orchestrator.videos import codecs

PLAYLIST = "application/vnd.apple.mpegurl"
VIDEO, AUDIO = "video.m3u8", "audio.m3u8"
VIDEO_HEADER, AUDIO_HEADER, AUDIO_FRAGMENT = "video-init.mp4", "audio-init.mp4", "audio.m4s"

START = "#EXT-X-START:TIME-OFFSET=0"
"""Players start a stream that still grows at its end, unless this is in it. ffmpeg takes it in media playlists only."""
SOUND_CODEC = "mp4a.40.2"
RETRY_SECONDS = 1.0
"""When to ask again while nothing can be seen yet."""

_SEGMENT = re.compile(r"(0|[1-9][0-9]{0,5})\.m4s")


@dataclass(frozen=True)
class Part:
    """Some bytes of a stored object, a few of them replaced."""

    object: StoredObject
    content_type: str
    offset: int = 0
    length: int = 0
    """0: up to the end."""
    patch_offset: int = 0
    """Where, from `offset` on, `patch` replaces what is there."""
    patch: bytes = b""


def ready(rendered: Mapping[str, RenderedVideo]) -> list[RenderedVideo]:
    """The segments that can be shown: from the first on, without a gap. `rendered` has them by `0`, `1` and so on."""
    found: list[RenderedVideo] = []
    while picture := rendered.get(str(len(found))):
        found.append(picture)
    return found


def codec_names(header: bytes) -> str:
    """The codecs of a preview, whose pictures begin with a header, as a playlist names them; empty: not known."""
    found = codecs.codec_names(header)
    return ",".join([*found, SOUND_CODEC]) if found else ""


def playlist(pictures: Sequence[RenderedVideo], request: VideoRequest, codec_list: str = "") -> str:
    """The playlist that names the others, and the codecs that a player needs."""
    seconds = sum(picture.frame_count for picture in pictures) / request.frames_per_second
    bits = ceil(8 * sum(picture.video.size_bytes for picture in pictures) / seconds) + 200_000
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


def video_playlist(pictures: Sequence[RenderedVideo], frames_per_second: int, *, ended: bool) -> str:
    """The playlist of the segments; it grows until the video is finished."""
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
    for number, picture in enumerate(pictures):
        lines += [f"#EXTINF:{picture.frame_count / frames_per_second:.6f},", f"{number}.m4s"]
    return "\n".join([*lines, *(["#EXT-X-ENDLIST"] if ended else [])]) + "\n"


def audio_playlist(seconds: float) -> str:
    """The playlist of the sound, which is there as a whole."""
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


def sound_part(name: str, sound: PreviewSound) -> Part:
    """The bytes of `AUDIO_HEADER` or `AUDIO_FRAGMENT`."""
    if name == AUDIO_HEADER:
        return Part(sound.audio, "audio/mp4", length=sound.header_bytes)
    return Part(sound.audio, "audio/mp4", offset=sound.header_bytes)


def part(name: str, pictures: Sequence[RenderedVideo], frames_per_second: int) -> Part | None:
    """The bytes of a file that the video's playlist names; None when there is no such file, or not yet."""
    if name == VIDEO_HEADER:
        return Part(pictures[0].video, "video/mp4", length=pictures[0].header_bytes)
    found = _SEGMENT.fullmatch(name)
    if not found or int(found[1]) >= len(pictures):
        return None
    shown = pictures[int(found[1])]
    first = sum(picture.frame_count for picture in pictures[: int(found[1])])
    ticks = first * shown.ticks_per_second // frames_per_second
    return Part(
        shown.video,
        "video/mp4",
        offset=shown.header_bytes,
        patch_offset=shown.time_offset - shown.header_bytes,
        patch=ticks.to_bytes(8, "big"),
    )


def patched(chunk: bytes, part: Part) -> bytes:
    """The first bytes of a part with what is replaced in them."""
    at = part.patch_offset
    return chunk[:at] + part.patch + chunk[at + len(part.patch) :]
