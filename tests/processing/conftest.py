"""What the tests of processing share: a renderer."""

from __future__ import annotations

import pytest

from services.processing.render import Tool
from tests.media.drawing import renderer


@pytest.fixture
def tool() -> Tool:
    """ffmpeg with one thread and the platform's font."""
    return renderer()
