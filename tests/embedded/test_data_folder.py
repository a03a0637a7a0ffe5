"""One platform uses a data folder at a time; a folder with other content or another version stays unchanged."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from services.embedded import data_folder
from services.embedded.errors import PlatformError


def use(data: Path) -> None:
    with data_folder.lock_folder(data):
        data_folder.record_address(data, 8080)


def test_a_new_folder_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    data = tmp_path / "deep" / "data"
    use(data)
    assert data.stat().st_mode & 0o777 == 0o700
    assert {file.name: file.stat().st_mode & 0o777 for file in data.iterdir()} == {
        "lock": 0o600,
        "platform.json": 0o600,
    }


def test_a_folder_is_used_by_one_platform_at_a_time(tmp_path: Path) -> None:
    with data_folder.lock_folder(tmp_path), pytest.raises(PlatformError, match=rf"\(process {os.getpid()}\)"):
        use(tmp_path)
    use(tmp_path)


def test_a_running_platform_is_found(tmp_path: Path) -> None:
    assert data_folder.find_platform(tmp_path) is None
    with data_folder.lock_folder(tmp_path):
        assert data_folder.find_platform(tmp_path) is None, "its ports are not chosen yet"
        data_folder.record_address(tmp_path, 9000)
        assert data_folder.find_platform(tmp_path) == data_folder.RunningPlatform(os.getpid(), "http://127.0.0.1:9000")
    assert data_folder.find_platform(tmp_path) is None


def test_a_search_for_a_platform_creates_no_file(tmp_path: Path) -> None:
    assert data_folder.find_platform(tmp_path / "data") is None
    assert not list(tmp_path.iterdir())


def test_the_folder_of_an_interrupted_first_start_is_used(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("12")
    use(tmp_path)


def test_keys_of_providers_may_be_there_before_the_first_start(tmp_path: Path) -> None:
    (tmp_path / "providers.json").write_text("{}")
    use(tmp_path)
    assert (tmp_path / "platform.json").exists()


def test_a_folder_with_other_files_stays_unchanged(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(PlatformError, match=r"letter\.txt"):
        use(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["letter.txt"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (json.dumps({"version": data_folder.LAYOUT_VERSION + 1}), "another version of MoneyPrinter"),
        (json.dumps({"version": 0}), "another version of MoneyPrinter"),
        ("{", "is broken"),
        ("", "is broken"),
        ("[]", "is broken"),
        ("{}", "is broken"),
    ],
)
def test_a_newer_or_broken_folder_stays_unchanged(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "platform.json").write_text(content)
    (tmp_path / "objects").mkdir()
    with pytest.raises(PlatformError, match=message) as refused:
        use(tmp_path)
    assert "\n" not in str(refused.value)
    assert (tmp_path / "platform.json").read_text() == content
    assert (tmp_path / "objects").exists()


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    for data in (tmp_path / "data", tmp_path / "data" / "below"):
        with pytest.raises(PlatformError, match=r"cannot use .*data"):
            use(data)


def test_the_error_names_a_file_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match=r"cannot use .*objects/x: "), data_folder.lock_folder(tmp_path):
        (tmp_path / "objects" / "x").write_bytes(b"")


def test_the_default_folder_is_in_the_users_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert data_folder.default_folder() == tmp_path / "moneyprinter"
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", "/home/alice")
    assert data_folder.default_folder() == Path("/home/alice/.local/share/moneyprinter")
