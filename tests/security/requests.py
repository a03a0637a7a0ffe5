"""Requests: for every public method, the most expensive ones within its limits, and some beyond them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from moneyprinter.buf.validate import validate_pb2
from moneyprinter.content.v1 import writing_service_pb2 as writing
from moneyprinter.media.v1 import media_pb2 as media
from moneyprinter.video.v1 import video_service_pb2 as pb

MAX_BYTES = 1_000_000
# Values for the patterns of the contracts.
SAMPLES = ("00:00:01", "#ffaa00", "ast_1", "en", "vid_1", "2025-01-29T10:30:00Z", "a", "word", "1")
DEEP = 60


def filled(kind: Descriptor, words: str = "word ", depth: int = 0) -> Message:
    """A request with lists, maps and texts of about the maximum lengths in the contract.

    Texts consist of repeated `words`.
    """
    message: Message = message_factory.GetMessageClass(kind)()
    for field in kind.fields:
        if field.containing_oneof is not None and field is not field.containing_oneof.fields[0]:
            continue
        rules = field.GetOptions().Extensions[validate_pb2.field]
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            for number in range(min(rules.map.max_pairs or 100, 1000)):
                getattr(message, field.name)[f"key{number}"] = _value(field.message_type.fields[1], rules, words, depth)
        elif field.is_repeated:
            values = getattr(message, field.name)
            # Many words in one sentence, or many sentences of one word; their product would exceed the limits.
            count = min(rules.repeated.max_items or 100, 1000 if depth == 0 else 20)
            for _ in range(count):
                if field.message_type is not None:
                    values.add().CopyFrom(filled(field.message_type, words, depth + 1))
                else:
                    values.append(_value(field, rules.repeated.items, words, depth))
        elif field.message_type is not None:
            if field.message_type.file.package != "google.protobuf" and depth < 5:
                getattr(message, field.name).CopyFrom(filled(field.message_type, words, depth + 1))
        else:
            setattr(message, field.name, _value(field, rules, words, depth))
    return message


def _value(field: FieldDescriptor, rules: validate_pb2.FieldRules, words: str, depth: int) -> Any:
    if field.type == FieldDescriptor.TYPE_BYTES:
        return bytes(1000)
    if field.type != FieldDescriptor.TYPE_STRING:
        return field.default_value
    text = rules.string
    if known := [each for each in getattr(text, "in") if each]:
        return known[0]
    if text.pattern:
        try:
            return next((sample for sample in SAMPLES if re.search(text.pattern, sample)), "")
        except re.error:
            # RE2 has escapes that Python lacks, mostly for character classes.
            return "Word"
    longest = min(text.max_len or 1000, 20_000 if depth == 0 else 500)
    return (text.prefix + words * longest)[:longest]


def video(words: str) -> pb.CreateVideoRequest:
    """A request for a video with the maximum number of clips and amount of text."""
    clip = pb.Clip(colour="#203040", script=("a" + words * 1000)[:1000], title=("a" + words * 200)[:200])
    settings = pb.Settings(resolution="480p", quality="draft")
    return pb.CreateVideoRequest(title=("a" + words * 200)[:200], clips=[clip] * 100, settings=settings)


def captions(words: str) -> writing.CreateCaptionsRequest:
    """A request for the captions of the longest script."""
    return writing.CreateCaptionsRequest(script=("a" + words * 20_000)[:20_000], duration=14_400, format="ass")


def timed_captions() -> writing.CreateCaptionsRequest:
    """A request for the captions of the longest script with word times."""
    words = [media.TimedWord(text="a", start=number / 10, end=(number + 1) / 10) for number in range(20_000)]
    sentences = [media.TimedSentence(words=words[first : first + 10]) for first in range(0, 20_000, 10)]
    return writing.CreateCaptionsRequest(sentences=sentences)


def raw(kind: Descriptor) -> Iterator[tuple[str, bytes]]:
    """Requests of a megabyte with the smallest possible elements: each list, each field, and unknown fields."""
    for path in _lists(kind, ()):
        yield ".".join(field.name for field in path), _wrapped(path, MAX_BYTES)
    for field in kind.fields:
        if field.type in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_MESSAGE) and not field.is_repeated:
            yield f"{field.name}  repeated", _wrapped((field,), MAX_BYTES)
            break
    yield "unknown numbers", b"\xf8\x3f\x01" * (MAX_BYTES // 3)
    yield "unknown texts", b"\xfa\x3f\x00" * (MAX_BYTES // 3)
    yield "unknown groups", b"\xfb\x3f" * (MAX_BYTES // 2)
    yield "an endless number", b"\x08" + b"\xff" * MAX_BYTES
    yield "no message", b"\xff" * MAX_BYTES


def _lists(kind: Descriptor, within: tuple[FieldDescriptor, ...]) -> Iterator[tuple[FieldDescriptor, ...]]:
    for field in kind.fields:
        path = (*within, field)
        if field.is_repeated:
            yield path
        if field.message_type is not None and len(path) < 4:
            yield from _lists(field.message_type, path)


def _wrapped(path: tuple[FieldDescriptor, ...], size: int) -> bytes:
    element = _tag(path[-1].number, 2) + b"\x00"
    data = element * (size // len(element))
    for field in reversed(path[:-1]):
        data = _tag(field.number, 2) + _varint(len(data)) + data
    return data


def _tag(number: int, wire_type: int) -> bytes:
    return _varint(number << 3 | wire_type)


def _varint(number: int) -> bytes:
    found = bytearray()
    while number >= 0x80:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


def bodies(kind: Descriptor) -> Iterator[tuple[str, str]]:
    """JSON bodies of a megabyte."""
    names = [field.name for field in kind.fields if field.is_repeated] or ["unknown"]
    for name in names:
        yield f"{name} of nothing", f'{{"{name}":[' + ",".join(["{}"] * (MAX_BYTES // 3)) + "]}"
    yield "lists of lists", '{"x":[' + ",".join(["[]"] * (MAX_BYTES // 3)) + "]}"
    yield "many fields", "{" + ",".join(['"a":1'] * (MAX_BYTES // 6)) + "}"
    yield "deep", '{"a":' * 50_000 + "1" + "}" * 50_000
    yield "a long text", '{"title":"' + "x" * MAX_BYTES + '"}'
    yield "long numbers", '{"a":' + "1" * MAX_BYTES + "}"
