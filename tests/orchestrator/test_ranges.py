"""Byte ranges that HTTP clients request from a file (RFC 9110)."""

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
def test_a_range_is_parsed(header: str, offset: int, length: int) -> None:
    found = ranges.parse_range(header, 100)
    assert found is not None
    assert (found.offset, found.length) == (offset, length)
    assert found.content_range == f"bytes {offset}-{offset + length - 1}/100"


@pytest.mark.parametrize(
    "header", ["", "bytes=", "bytes=-", "bytes=100-", "bytes=9-1", "bytes=-0", "bytes=0-1,5-6", "lines=0-1", "bytes=٣-"]
)
def test_a_header_without_a_single_valid_range_gives_no_range(header: str) -> None:
    assert ranges.parse_range(header, 100) is None


def test_an_empty_file_has_no_range() -> None:
    assert ranges.parse_range("bytes=0-", 0) is None


@given(st.text(max_size=40) | st.from_regex(r"bytes=\d*-\d*", fullmatch=True), st.integers(0, 10**12))
def test_a_range_lies_within_the_file(header: str, size: int) -> None:
    found = ranges.parse_range(header, size)
    assert found is None or (found.offset >= 0 and 1 <= found.length <= size - found.offset)


SHA = "ab" * 32
TAG = f'"{SHA}"'


@pytest.mark.parametrize(
    ("conditions", "status"),
    [
        (ranges.Conditions(), 200),
        (ranges.Conditions("bytes=0-9"), 206),
        (ranges.Conditions("bytes=100-"), 416),
        (ranges.Conditions("bytes=100-200"), 416),
        (ranges.Conditions("bytes=-0"), 416),
        # An invalid header, or several ranges, requests the whole file.
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
def test_the_status_depends_on_the_conditions(conditions: ranges.Conditions, status: int) -> None:
    selection = ranges.select_range(conditions, SHA, 100)
    assert selection.status == status
    assert (selection.range is not None) is (status == 206)


def test_a_range_of_an_empty_file_is_not_satisfiable() -> None:
    assert ranges.select_range(ranges.Conditions("bytes=0-"), SHA, 0).status == 416
