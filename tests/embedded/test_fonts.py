"""The services find the platform's fonts before the machine's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from services.content.config import Config as ContentConfig
from services.embedded import binaries
from services.embedded.environment import font_folders
from services.processing.config import Config as ProcessingConfig


def test_the_fonts_of_the_platform_come_before_those_of_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".fonts").mkdir()
    found = font_folders()
    ours = binaries.font_folders()
    assert found[: len(ours)] == ours and tmp_path / ".fonts" in found[len(ours) :]
    assert all(folder.is_dir() for folder in found)
    assert tmp_path / ".local/share/fonts" not in found
    # A folder that the setting could not name is left out.
    (tmp_path / "a:b" / ".fonts").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "a:b"))
    assert all(os.pathsep not in str(folder) for folder in font_folders())


def test_content_and_processing_read_the_same_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    folders = font_folders()
    for service in ("CONTENT", "PROCESSING"):
        monkeypatch.setenv(f"MONEYPRINTER_{service}_FONTS", os.pathsep.join(map(str, folders)))
    assert ContentConfig().fonts == ProcessingConfig().fonts == tuple(folders)
    monkeypatch.setenv("MONEYPRINTER_CONTENT_FONTS", "")
    assert ContentConfig().fonts == () and ContentConfig(fonts=Path("/one")).fonts == (Path("/one"),)
