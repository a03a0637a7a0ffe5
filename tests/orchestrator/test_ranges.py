"""Ranges: the parts of a file that HTTP clients ask for, as RFC 9110 counts them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.orchestrator.videos import ranges


@pytest.mark.parametrize(
    ("header", "offset", "length"),
    [
        ("bytes=0-9", 0, 10),
        ("bytes=90-", 90, 10),
        ("bytes=90-900", 90, 10),
        ("bytes=-10", 90, 10),
        ("bytes=-900", 0, 100),
        ("bytes=99-99", 99, 1),
        (" bytes=0-0 ", 0, 1),
    ],
)
def test_a_part_is_read(header: str, offset: int, length: int) -> None:
    part = ranges.read(header, 100)
    assert part is not None
    assert (part.offset, part.length) == (offset, length)
    assert part.content_range == f"bytes {offset}-{offset + length - 1}/100"


@pytest.mark.parametrize(
    "header", ["", "bytes=", "bytes=-", "bytes=100-", "bytes=9-1", "bytes=-0", "bytes=0-1,5-6", "lines=0-1", "bytes=٣-"]
)
def test_all_is_sent_for_what_asks_for_no_part(header: str) -> None:
    assert ranges.read(header, 100) is None


def test_an_empty_file_has_no_parts() -> None:
    assert ranges.read("bytes=0-", 0) is None


@given(st.text(max_size=40) | st.from_regex(r"bytes=\d*-\d*", fullmatch=True), st.integers(0, 10**12))
def test_a_part_lies_within_the_file(header: str, size: int) -> None:
    part = ranges.read(header, size)
    assert part is None or (part.offset >= 0 and 1 <= part.length <= size - part.offset)


SHA = "ab" * 32
TAG = f'"{SHA}"'


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (ranges.Conditions(), 200),
        (ranges.Conditions("bytes=0-9"), 206),
        (ranges.Conditions("bytes=100-"), 416),
        (ranges.Conditions("bytes=100-200"), 416),
        (ranges.Conditions("bytes=-0"), 416),
        # What is no single part, or in no form, asks for all.
        (ranges.Conditions("bytes=9-1"), 200),
        (ranges.Conditions("bytes=0-1,5-6"), 200),
        (ranges.Conditions("lines=0-1"), 200),
        (ranges.Conditions("bytes=0-9", if_range=TAG), 206),
        (ranges.Conditions("bytes=0-9", if_range='"other"'), 200),
        (ranges.Conditions("bytes=100-", if_range='"other"'), 200),
        (ranges.Conditions("bytes=0-9", if_range=f"W/{TAG}"), 200),
        (ranges.Conditions("bytes=0-9", if_range="Wed, 29 Jan 2025 10:00:00 GMT"), 200),
        (ranges.Conditions(if_none_match=TAG), 304),
        (ranges.Conditions(if_none_match=f'"other", W/{TAG}'), 304),
        (ranges.Conditions(if_none_match="*"), 304),
        (ranges.Conditions(if_none_match='"other"'), 200),
        (ranges.Conditions("bytes=0-9", if_none_match=TAG), 304),
    ],
    ids=str,
)
def test_what_is_sent_depends_on_what_the_client_has(asked: ranges.Conditions, status: int) -> None:
    selection = ranges.select(asked, SHA, 100)
    assert selection.status == status
    assert (selection.part is not None) is (status == 206)


def test_an_empty_file_has_no_part_that_can_be_asked_for() -> None:
    assert ranges.select(ranges.Conditions("bytes=0-"), SHA, 0).status == 416
