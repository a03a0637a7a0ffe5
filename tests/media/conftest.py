"""What the tests of pictures and sound share: a renderer, and the zoo of sources."""

from __future__ import annotations

import pytest

from services.processing.render import Tool
from tests.media.drawing import renderer
from tests.media.zoo import Zoo


@pytest.fixture
def tool() -> Tool:
    """ffmpeg with one thread and the platform's font."""
    return renderer()


@pytest.fixture(scope="session")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    """Sources by name, each made once."""
    return Zoo(tmp_path_factory.mktemp("zoo"))
