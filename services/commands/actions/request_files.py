"""Parses the request of a video: clips by file or address, a request file, options and the output file."""

from __future__ import annotations

import difflib
import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf import json_format

from moneyprinter.video.v1 import video_service_pb2 as pb
from services.commands.errors import WrongRequest

CODECS = {".mp4": ("h264", "h265"), ".webm": ("vp9", "av1")}
"""The codecs of each file type; the first is the default."""

MOODS = ("none", "upbeat", "calm", "dramatic", "happy", "dark")
"""The moods of background music."""

_PART = re.compile(r"(?P<source>.+)@(?P<start>[0-9:.]*)-(?P<end>[0-9:.]*)")
_TIME = re.compile(r"(?:(?:(\d+):)?(\d{1,2}):)?(\d+(?:\.\d{1,3})?)")


@dataclass(frozen=True)
class Clip:
    """A clip in a request: a file or an address, and the range to use as `HH:MM:SS.mmm`."""

    source: str
    """Empty when `extra_fields` has an `asset_id` or `colour` instead."""
    start_time: str = ""
    end_time: str = ""
    fit: str = ""
    extra_fields: Mapping[str, Any] = field(default_factory=dict)
    """The clip's other fields in a request file: `motion`, `speed` and so on."""

    @property
    def file(self) -> Path | None:
        """The path of a local file; None for any other source."""
        return None if "://" in self.source or not self.source else Path(self.source).expanduser()


def parse_clip(text: str) -> Clip:
    """Parse `FILE_OR_URL[@START-END]`. A time is in seconds, `MM:SS` or `HH:MM:SS`, and may be empty.

    Raises `WrongRequest` when a time has another form, or the end is not after the start.
    """
    match = _PART.fullmatch(text)
    if match is None or (not match["start"] and not match["end"]):
        return Clip(text)
    start, end = _parse_time(text, match["start"]), _parse_time(text, match["end"])
    if end and (len(end), end) <= (len(start), start):
        raise WrongRequest(f"--clip {text}: the end must be after the start")
    return Clip(match["source"], start, end)


def parse_pronunciations(entries: Sequence[str]) -> dict[str, str]:
    """Parse `WORD=SPOKEN` entries. Raises `WrongRequest` for another form."""
    pairs = [entry.partition("=") for entry in entries]
    if wrong := next((word for word, _, spoken in pairs if not (word.strip() and spoken.strip())), None):
        raise WrongRequest(f"--pronounce {wrong}: write WORD=SPOKEN, for example nginx='engine x'")
    return {word.strip(): spoken.strip() for word, _, spoken in pairs}


def parse_languages(text: str | None) -> list[str] | None:
    """Parse languages that are separated by commas; None is none."""
    return [part.strip() for part in text.split(",") if part.strip()] if text is not None else None


def _parse_time(clip: str, text: str) -> str:
    if not text:
        return ""
    match = _TIME.fullmatch(text)
    if match is None:
        raise WrongRequest(f"--clip {clip}: {text} is not a time; write seconds (12.5), MM:SS or HH:MM:SS")
    total = int(match[1] or 0) * 3600 + int(match[2] or 0) * 60 + float(match[3])
    minutes, seconds = divmod(round(total * 1000), 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{seconds / 1000:06.3f}"


def read_request(
    file: Path | None, settings: dict[str, Any], clips: Sequence[str]
) -> tuple[dict[str, Any], list[Clip]]:
    """Read a request file and options. Returns the request as JSON without its clips, and the clips.

    Options override the file: `settings` maps the path of a field, such as `title` or `audio.script`, to its value, or
    None when the option is not given. Raises `WrongRequest` when the file cannot be read or has another structure.
    """
    return read_fields(_read_object(file), settings, clips)


def read_fields(
    request: dict[str, Any], settings: dict[str, Any], clips: Sequence[str]
) -> tuple[dict[str, Any], list[Clip]]:
    """Do the same as `read_request` for fields that are already read. Raises `WrongRequest`."""
    clip_fields = request.pop("clips", [])
    if not isinstance(clip_fields, list) or not all(isinstance(clip, dict) for clip in clip_fields):
        raise WrongRequest(
            'clips must be a list of objects, each with a "url" (an address or a file), an "asset_id" or a "colour"'
        )
    file_clips = [_clip_from_fields(clip) for clip in clip_fields]
    set_fields(request, settings)
    return request, [parse_clip(clip) for clip in clips] or file_clips


def read_changes(file: Path | None, settings: dict[str, Any]) -> dict[str, Any]:
    """Read the changed fields of a revision, from a file and from options. Raises `WrongRequest`."""
    changes = _read_object(file)
    set_fields(changes, settings)
    if not changes:
        raise WrongRequest("there is nothing to change: give a file with changes, or options such as --title")
    return changes


def _read_object(file: Path | None) -> dict[str, Any]:
    request: dict[str, Any] = {}
    if file is not None:
        try:
            request = json.loads(file.read_text(encoding="utf-8"))
        except OSError as failure:
            raise WrongRequest(f"cannot read {file}: {failure.strerror}") from None
        except UnicodeDecodeError:
            raise WrongRequest(f"{file} is not text in UTF-8") from None
        except ValueError as failure:
            raise WrongRequest(f"{file} is not JSON: {failure}") from None
        if not isinstance(request, dict):
            raise WrongRequest(f"{file} is not a JSON object")
    return request


def set_fields(request: dict[str, Any], settings: dict[str, Any]) -> None:
    """Set fields of a request by path, such as `audio.script`; None changes nothing. Raises `WrongRequest`."""
    for path, value in settings.items():
        if value is not None:
            group, _, name = path.rpartition(".")
            parent = request.setdefault(group, {}) if group else request
            if not isinstance(parent, dict):
                raise WrongRequest(f"{group} must be an object")
            parent[name] = value


def _clip_from_fields(fields: dict[str, Any]) -> Clip:
    own_fields = ("url", "start_time", "end_time", "fit")
    extra = {name: value for name, value in fields.items() if name not in own_fields}
    source, start, end, fit = (fields.get(name, "") for name in own_fields)
    return Clip(source, start, end, fit, extra)


def find_sounds(request: Mapping[str, Any]) -> list[Path]:
    """Return the sound files of a request: the values of its `audio` that are paths."""
    audio = request.get("audio")
    return [value for value in audio.values() if isinstance(value, Path)] if isinstance(audio, Mapping) else []


def parse_music(text: str | None) -> tuple[str | None, Path | None]:
    """Parse the value of `--music`. Returns the mood, or the file; None is neither."""
    if text is None or text in MOODS:
        return text, None
    if not Path(text).suffix and not Path(text).is_file():
        # The platform reports the moods that there are.
        return text, None
    return None, Path(text).expanduser()


def read_script(file: Path) -> str:
    """Read a text file. Raises `WrongRequest` when it cannot be read or is not UTF-8."""
    try:
        return file.read_text(encoding="utf-8")
    except OSError as failure:
        raise WrongRequest(f"cannot read {file}: {failure.strerror}") from None
    except UnicodeDecodeError:
        raise WrongRequest(f"{file} is not text in UTF-8") from None


def check_files(clips: Sequence[Clip], logo: Path | None, out: Path, sounds: Sequence[Path] = ()) -> None:
    """Check that all input files exist and `out` can be written. Raises `WrongRequest`."""
    for file in (*sounds, *(clip.file for clip in clips), logo):
        if file is not None and file.is_dir():
            raise WrongRequest(f"{file} is a folder; name a file in it")
        if file is not None and not file.is_file():
            raise WrongRequest(f"there is no file {file}")
    check_writable(out)


def check_writable(out: Path) -> None:
    """Check that a file can be written, before any work for it begins. Raises `WrongRequest`."""
    if out.is_dir():
        raise WrongRequest(f"{out} is a folder; name a file in it")
    if not out.absolute().parent.is_dir():
        raise WrongRequest(f"there is no folder {out.absolute().parent}")
    try:
        with tempfile.TemporaryFile(dir=out.absolute().parent):
            pass
    except OSError as failure:
        raise WrongRequest(f"cannot write into {out.absolute().parent}: {failure.strerror}") from None


def choose_codec(request: dict[str, Any], out: Path) -> None:
    """Set the codec of a request by the suffix of its output file. Raises `WrongRequest` when the two contradict."""
    codecs = CODECS.get(out.suffix.lower())
    if codecs is None:
        raise WrongRequest(f"--out {out}: the name of a video must end with {' or '.join(CODECS)}")
    settings = request.get("settings")
    codec = settings.get("codec") if isinstance(settings, dict) else None
    if not codec and codecs != CODECS[".mp4"]:
        request["settings"] = {**(settings or {}), "codec": codecs[0]}
    elif codec and codec not in codecs and any(codec in others for others in CODECS.values()):
        right = next(suffix for suffix, others in CODECS.items() if codec in others)
        raise WrongRequest(f"--out {out}: {codec} needs a {right} file; name it {out.with_suffix(right).name}")


def to_message(request: Mapping[str, Any]) -> pb.CreateVideoRequest:
    """Convert a request from JSON to its message. Raises `WrongRequest`, with the field, when it does not fit."""
    try:
        message: pb.CreateVideoRequest = json_format.ParseDict(dict(request), pb.CreateVideoRequest())
    except json_format.ParseError as failure:
        raise WrongRequest(_parse_error(str(failure))) from None
    return message


def _parse_error(text: str) -> str:
    """Turn the error of the JSON parser into a message that suggests a similar field."""
    unknown = re.search(
        r'has no field named "(.*?)" at "CreateVideoRequest\.?(.*?)"\.\s*Available Fields.*?"\[(.*)\]"', text
    )
    if unknown is None:
        return f"the request cannot be used: {text.removeprefix('Failed to parse ')}"
    name, parent, fields = unknown.groups()
    near = difflib.get_close_matches(name, re.findall(r"\w+", fields), 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"the request has no field {parent + '.' if parent else ''}{name}{hint}"


def find_orientation(request: Mapping[str, Any]) -> str:
    """Return the orientation of the requested video, in which its clips are searched for; empty when it is unknown."""
    settings = request.get("settings")
    aspect = settings.get("aspect_ratio", "16:9") if isinstance(settings, Mapping) else "16:9"
    width, _, height = str(aspect).partition(":")
    if not (width.isdecimal() and height.isdecimal()):
        return ""
    wide, high = int(width), int(height)
    return "square" if wide == high else "landscape" if wide > high else "portrait"
