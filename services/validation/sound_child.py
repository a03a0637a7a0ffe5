"""Sound child: the isolated process that reads the sound of a file, which may be malicious, and prints a line of JSON.

It runs with `python -I` under limits, as `probe_child` does. Its arguments are the file, the longest duration and the
start of the used part, both in seconds. It prints `seconds` from the start to the end, or `reason` and `message`. It
decodes the whole sound: headers promise lengths that files do not have, and only samples show silence.
"""

from __future__ import annotations

import json
import sys

import av
import av.container
import av.error

from services.validation.checks import PROTOCOLS, ClipRefused
from services.validation.probe_child import FORMATS, leave_network

# The containers of clips, and those of sound alone. None of them can make ffmpeg open another file.
SOUND_FORMATS = f"{FORMATS},wav,w64,mp3,flac,aac,ac3,eac3,aiff,amr,au,caf,wv,ape,tta"
RATE = 8_000
# Samples below this level (-50 dB) are silent.
_SILENT = 0.00316
_LEAST_SECONDS = 0.5
# A file of which this many packets cannot be decoded is damaged.
_MAX_FAILURES = 100


def read_sound(path: str, max_seconds: float, start: float) -> dict[str, float]:
    """The seconds of sound from `start`. Raises `ClipRefused` when the sound cannot be used."""
    options = {"protocol_whitelist": PROTOCOLS, "format_whitelist": SOUND_FORMATS}
    try:
        container = av.open(path, "r", options=options, metadata_errors="replace")
    except av.error.FFmpegError:
        raise ClipRefused(
            "SOUND_NOT_PLAYABLE", "the file is no sound of a known kind, or it is cut off or damaged"
        ) from None
    with container:
        if not container.streams.audio:
            raise ClipRefused("SOUND_NOT_PLAYABLE", "the file has pictures and no sound; upload one with sound")
        if (container.duration or 0) / 1_000_000 > max_seconds:
            raise _too_long(max_seconds)
        samples, loudest = _decode(container, max_seconds, start)
    seconds = samples / RATE - start
    if not samples:
        raise ClipRefused("SOUND_NOT_PLAYABLE", "the file is damaged: its sound cannot be decoded")
    if seconds < _LEAST_SECONDS:
        raise ClipRefused(
            "SOUND_NOT_PLAYABLE",
            f"it has {samples / RATE:.1f} s of sound, of which {max(0.0, seconds):.1f} s would be used; "
            f"at least {_LEAST_SECONDS:g} s are needed",
        )
    if loudest < _SILENT:
        raise ClipRefused("SOUND_SILENT", "its sound is silent; upload a louder one")
    return {"seconds": seconds}


def _decode(container: av.container.InputContainer, max_seconds: float, start: float) -> tuple[int, float]:
    """The number of samples at `RATE`, and the loudest one from `start`."""
    resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE)
    samples, loudest, failures = 0, 0.0, 0
    for packet in container.demux(audio=0):
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            failures += 1
            if failures > _MAX_FAILURES:
                break
            continue
        for frame in frames:
            # Some files have timestamps that a resampler refuses; only the number of samples counts here.
            frame.pts = None
            for part in resampler.resample(frame):
                values = abs(part.to_ndarray()[0])
                begin = max(0, round(start * RATE) - samples)
                samples += len(values)
                loudest = max(loudest, float(values[begin:].max(initial=0.0)))
        if samples > max_seconds * RATE:
            raise _too_long(max_seconds)
    return samples, loudest


def _too_long(max_seconds: float) -> ClipRefused:
    return ClipRefused("SOUND_TOO_LONG", f"it is longer than {max_seconds / 60:.0f} minutes, the limit; cut it")


def main() -> None:
    leave_network()
    try:
        answer: dict[str, object] = {**read_sound(sys.argv[1], float(sys.argv[2]), float(sys.argv[3]))}
    except ClipRefused as refused:
        answer = dict(zip(("reason", "message"), refused.args, strict=True))
    except (MemoryError, av.error.FFmpegError):
        answer = {"reason": "SOUND_NOT_PLAYABLE", "message": "the file is damaged: its sound cannot be read"}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
