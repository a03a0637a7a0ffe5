"""Fixtures of the media tests: the zoo of sources."""

from __future__ import annotations

import pytest

from tests.media.zoo import Zoo


@pytest.fixture(scope="session")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    """Sources by name, each made once."""
    return Zoo(tmp_path_factory.mktemp("zoo"))
