"""Subtitles: SRT and WebVTT files keep the text as it is written."""

from __future__ import annotations

from datetime import timedelta

from services.content.captions.cues import Cue
from services.content.captions.subtitles import write_srt, write_vtt
from services.content.layout.line_breaking import Word


def cue(start: timedelta, end: timedelta, *lines: str) -> Cue:
    return Cue(start, end, tuple((Word(line, start, end),) for line in lines))


CUES = [
    cue(timedelta(seconds=0.15), timedelta(seconds=1.234), "Hello, world,", "it is me."),
    cue(timedelta(seconds=1.5), timedelta(hours=1), "{\\b1} C:\\new \\h <i> & --> &lt;"),
]


def test_srt_is_literal() -> None:
    assert write_srt(CUES) == (
        "1\n00:00:00,150 --> 00:00:01,234\nHello, world,\nit is me.\n\n"
        "2\n00:00:01,500 --> 01:00:00,000\n{\\b1} C:\\new \\h <i> & --> &lt;\n\n"
    )
    assert write_srt([]) == ""


def test_vtt_escapes_markup() -> None:
    assert write_vtt(CUES) == (
        "WEBVTT\n\n"
        "1\n00:00:00.150 --> 00:00:01.234\nHello, world,\nit is me.\n\n"
        "2\n00:00:01.500 --> 01:00:00.000\n{\\b1} C:\\new \\h &lt;i&gt; &amp; --&gt; &amp;lt;\n\n"
    )
    assert write_vtt([]).strip() == "WEBVTT"
