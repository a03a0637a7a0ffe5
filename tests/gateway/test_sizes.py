"""The largest accepted requests are little larger than the contracts allow."""

from __future__ import annotations

import pytest

from gateway.contracts import load_methods
from gateway.sizes import MAX_ELEMENTS, MIN_BYTES, SPARE_ELEMENTS, UNLIMITED, max_request_size

MEGABYTE = 1 << 20


def paths(of: str) -> str:
    return next(method.path for method in load_methods() if method.path.endswith(of))


@pytest.mark.parametrize("method", ["/CancelVideo", "/SignIn", "/CreateApiKey", "/CreateWebhook", "/SetRoles"])
def test_a_small_request_stays_small(method: str) -> None:
    size = max_request_size(paths(method))
    assert size.bytes == MIN_BYTES
    assert size.elements < SPARE_ELEMENTS + 30


def test_the_largest_valid_request_is_accepted() -> None:
    assert max_request_size(paths("/CreateSpeech")).bytes > 6 * 20_000
    video = max_request_size(paths("/CreateVideo"))
    assert video.bytes > MEGABYTE
    # A hundred scenes, each with fifty cuts.
    assert video.elements == MAX_ELEMENTS + SPARE_ELEMENTS
    # The times of 20,000 words.
    assert max_request_size(paths("/CreateCaptions")).elements == MAX_ELEMENTS + SPARE_ELEMENTS >= 84_000


def test_every_public_request_is_limited() -> None:
    """A string without a limit would leave the size of a request to the gateway's own limit."""
    unlimited = {
        method.path.rpartition("/")[2]
        for method in load_methods()
        if method.public and not method.client_streaming and max_request_size(method.path).bytes >= UNLIMITED
    }
    # Free-form JSON, and nested lists whose product exceeds every real request.
    assert unlimited == {"ReviseVideo", "CreateCaptions"}
