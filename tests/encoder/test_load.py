"""Streams hold slots, and frames are counted by the second."""

from __future__ import annotations

import pytest

from moneyprinter import errors
from services.encoder.load import Load


def test_slots_are_granted_until_none_is_free() -> None:
    load = Load(2, lambda: 0.0)
    with load.slot("one"), load.slot("two"):
        assert (load.free_slots, load.backend("one").streams, load.backend("two").streams) == (0, 1, 1)
        with pytest.raises(errors.ResourceExhausted) as refused, load.slot("one"):
            pass
        assert (refused.value.reason, refused.value.retry_after_seconds) == ("BUSY", 1.0)
        assert load.free_slots == 0
    assert (load.free_slots, load.backend("one").streams) == (2, 0)


def test_the_frame_rate_covers_the_last_ten_seconds() -> None:
    now = 100.0
    load = Load(1, lambda: now)
    with load.slot("one") as count:
        for _ in range(20):
            count()
        now = 105.5
        for _ in range(10):
            count()
    assert load.frames_per_second("one") == 3.0
    now = 109.9
    assert load.frames_per_second("one") == 3.0
    now = 110.0
    assert load.frames_per_second("one") == 1.0
    now = 200.0
    assert load.frames_per_second("one") == 0.0
    assert load.backend("one").frame_count == 30
    assert load.frames_per_second("two") == 0.0
