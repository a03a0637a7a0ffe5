"""Requests as the command line takes them: clips by file or address, a request file, and where the video goes."""

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
"""The codecs of each kind of file; the first is the one of a request that names none."""

_PART = re.compile(r"(?P<source>.+)@(?P<start>[0-9:.]*)-(?P<end>[0-9:.]*)")
_TIME = re.compile(r"(?:(?:(\d+):)?(\d{1,2}):)?(\d+(?:\.\d{1,3})?)")


@dataclass(frozen=True)
class Clip:
    """A clip as it was named: a file or an address, and the part of it as `HH:MM:SS.mmm`."""

    source: str
    """Empty when `more` names it by `asset_id` or `colour`."""
    start_time: str = ""
    end_time: str = ""
    fit: str = ""
    more: Mapping[str, Any] = field(default_factory=dict)
    """What else a request file says of it: `motion`, `speed` and so on."""

    @property
    def file(self) -> Path | None:
        """The file; None when it is none."""
        return None if "://" in self.source or not self.source else Path(self.source).expanduser()


def parse_clip(text: str) -> Clip:
    """A clip of `FILE_OR_URL[@START-END]`; times are seconds, `MM:SS` or `HH:MM:SS`, and may be left out."""
    match = _PART.fullmatch(text)
    if match is None or (not match["start"] and not match["end"]):
        return Clip(text)
    return Clip(match["source"], _time(text, match["start"]), _time(text, match["end"]))


def _time(clip: str, text: str) -> str:
    if not text:
        return ""
    match = _TIME.fullmatch(text)
    if match is None:
        raise WrongRequest(f"--clip {clip}: {text} is no time; write seconds (12.5), MM:SS or HH:MM:SS")
    total = int(match[1] or 0) * 3600 + int(match[2] or 0) * 60 + float(match[3])
    minutes, seconds = divmod(round(total * 1000), 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{seconds / 1000:06.3f}"


def read_request(
    file: Path | None, settings: dict[str, Any], clips: Sequence[str]
) -> tuple[dict[str, Any], list[Clip]]:
    """The request as JSON without its clips, and the clips.

    What a request file holds is overruled by what is given beside it: `settings` has `title`, `audio.script`,
    `settings.quality` and so on, with None for what is not given. Raises WrongRequest.
    """
    return read_fields(_read_object(file), settings, clips)


def read_fields(
    request: dict[str, Any], settings: dict[str, Any], clips: Sequence[str]
) -> tuple[dict[str, Any], list[Clip]]:
    """As `read_request`, for the fields of a request that were read before."""
    named = request.pop("clips", [])
    if not isinstance(named, list) or not all(isinstance(clip, dict) for clip in named):
        raise WrongRequest(
            'clips must be a list of objects, each with a "url" (an address or a file), an "asset_id" or a "colour"'
        )
    found = [_clip_of(clip) for clip in named]
    set_fields(request, settings)
    return request, [parse_clip(clip) for clip in clips] or found


def read_changes(file: Path | None, settings: dict[str, Any]) -> dict[str, Any]:
    """The fields that a revision changes: those of a file, and those given beside it. Raises WrongRequest."""
    changes = _read_object(file)
    set_fields(changes, settings)
    if not changes:
        raise WrongRequest("there is nothing to change: name a file of changes, or options such as --title")
    return changes


def _read_object(file: Path | None) -> dict[str, Any]:
    request: dict[str, Any] = {}
    if file is not None:
        try:
            request = json.loads(file.read_text(encoding="utf-8"))
        except OSError as failure:
            raise WrongRequest(f"cannot read {file}: {failure.strerror}") from None
        except ValueError as failure:
            raise WrongRequest(f"{file} is not JSON: {failure}") from None
        if not isinstance(request, dict):
            raise WrongRequest(f"{file} holds no JSON object")
    return request


def set_fields(request: dict[str, Any], settings: dict[str, Any]) -> None:
    """Set fields of a request by their paths, such as `audio.script`; None leaves one as it is. Raises WrongRequest."""
    for path, value in settings.items():
        if value is not None:
            group, _, name = path.rpartition(".")
            within = request.setdefault(group, {}) if group else request
            if not isinstance(within, dict):
                raise WrongRequest(f"{group} must be an object")
            within[name] = value


def _clip_of(fields: dict[str, Any]) -> Clip:
    known = ("url", "start_time", "end_time", "fit")
    more = {name: value for name, value in fields.items() if name not in known}
    source, start, end, fit = (fields.get(name, "") for name in known)
    return Clip(source, start, end, fit, more)


def read_script(file: Path) -> str:
    """The text of a script file."""
    try:
        return file.read_text(encoding="utf-8")
    except OSError as failure:
        raise WrongRequest(f"cannot read {file}: {failure.strerror}") from None
    except UnicodeDecodeError:
        raise WrongRequest(f"{file} is not text in UTF-8") from None


def check_files(clips: Sequence[Clip], logo: Path | None, out: Path) -> None:
    """Raise WrongRequest when a file is not there, or `out` cannot be written."""
    for clip in clips:
        if clip.file is not None and not clip.file.is_file():
            raise WrongRequest(f"there is no file {clip.source}")
    if logo is not None and not logo.is_file():
        raise WrongRequest(f"there is no file {logo}")
    check_writable(out)


def check_writable(out: Path) -> None:
    """Raise WrongRequest when a file cannot be written, before anything is made for it."""
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
    """Have a request make what the name of its file promises. Raises WrongRequest when it asks for something else."""
    codecs = CODECS.get(out.suffix.lower())
    if codecs is None:
        raise WrongRequest(f"--out {out}: a video is a file whose name ends with {' or '.join(CODECS)}")
    settings = request.get("settings")
    asked = settings.get("codec") if isinstance(settings, dict) else None
    if not asked and codecs != CODECS[".mp4"]:
        request["settings"] = {**(settings or {}), "codec": codecs[0]}
    elif asked and asked not in codecs and any(asked in others for others in CODECS.values()):
        right = next(suffix for suffix, others in CODECS.items() if asked in others)
        raise WrongRequest(f"--out {out}: {asked} goes into a {right} file; name it {out.with_suffix(right).name}")


def to_message(request: Mapping[str, Any]) -> pb.CreateVideoRequest:
    """A request as the contract has it. Raises WrongRequest, with the field, when it has another form."""
    try:
        message: pb.CreateVideoRequest = json_format.ParseDict(dict(request), pb.CreateVideoRequest())
    except json_format.ParseError as failure:
        raise WrongRequest(_parse_error(str(failure))) from None
    return message


def _parse_error(text: str) -> str:
    """The words of the JSON parser's error, with the field that was probably meant."""
    unknown = re.search(
        r'has no field named "(.*?)" at "CreateVideoRequest\.?(.*?)"\.\s*Available Fields.*?"\[(.*)\]"', text
    )
    if unknown is None:
        return f"the request cannot be used: {text.removeprefix('Failed to parse ')}"
    name, within, fields = unknown.groups()
    near = difflib.get_close_matches(name, re.findall(r"\w+", fields), 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"the request has no field {within + '.' if within else ''}{name}{hint}"
