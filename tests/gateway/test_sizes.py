"""How large requests may be: as large as the contracts allow, and hardly larger."""

from __future__ import annotations

import pytest

from gateway.contracts import methods
from gateway.sizes import LEAST_BYTES, MOST_ELEMENTS, SPARE_ELEMENTS, UNLIMITED, largest

MEGABYTE = 1 << 20


def paths(of: str) -> str:
    return next(method.path for method in methods() if method.path.endswith(of))


@pytest.mark.parametrize("method", ["/CancelVideo", "/SignIn", "/CreateApiKey", "/CreateWebhook", "/SetRoles"])
def test_a_small_request_stays_small(method: str) -> None:
    size = largest(paths(method))
    assert size.bytes == LEAST_BYTES
    assert size.elements < SPARE_ELEMENTS + 30


def test_what_the_contract_allows_is_let_through() -> None:
    assert largest(paths("/CreateSpeech")).bytes > 6 * 20_000
    video = largest(paths("/CreateVideo"))
    assert video.bytes > MEGABYTE
    # A hundred clips, each with all its fields.
    assert 100 * 17 < video.elements < 20_000
    # The times of 20,000 words.
    assert largest(paths("/CreateCaptions")).elements == MOST_ELEMENTS + SPARE_ELEMENTS >= 84_000


def test_every_public_request_is_limited() -> None:
    """A text without a limit would let a request through whose size only the gateway's own limit bounds."""
    unlimited = {
        method.path.rpartition("/")[2]
        for method in methods()
        if method.public and not method.client_streaming and largest(method.path).bytes >= UNLIMITED
    }
    # Free JSON, and lists whose product is more than anybody sends.
    assert unlimited == {"ReviseVideo", "CreateCaptions"}
