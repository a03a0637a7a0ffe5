"""The command explains itself, and reports errors in one line, without a traceback."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from services.embedded import data_folder, ports


def run(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "services.cli", *map(str, arguments)],
        env={"PATH": os.environ["PATH"], "COLUMNS": "200", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def assert_refused(done: subprocess.CompletedProcess[str], code: int, words: str) -> None:
    """Assert that a command ended with `code` and one line of error that holds `words`."""
    assert done.returncode == code, done
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1, done.stderr
    assert words in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["--help"], "serve"), (["up", "--help"], "moneyprinter up --port 9000"), (["--version"], "moneyprinter 0.")],
)
def test_the_command_explains_itself(arguments: list[str], words: str) -> None:
    done = run(*arguments)
    assert done.returncode == 0
    assert words in done.stdout


def test_an_unknown_service_is_refused() -> None:
    assert_refused(run("serve", "kitchen"), 2, "there is no service kitchen; the services are: orchestrator")


def test_a_misspelt_setting_is_refused() -> None:
    assert_refused(
        run("serve", "content", MONEYPRINTER_RUNTIME_PROTS="{}"), 2, "MONEYPRINTER_RUNTIME_PROTS is no setting"
    )


def test_a_service_without_certificate_is_refused(tmp_path: Path) -> None:
    assert_refused(run("serve", "content", MONEYPRINTER_RUNTIME_CERTIFICATES=str(tmp_path)), 2, "content has no")


def test_a_service_loads_its_own_libraries_only() -> None:
    code = "import sys, services.cli, services.user.server; sys.exit('av' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-P", "-c", code], check=False).returncode == 0


def test_a_port_in_use_is_refused_before_anything_starts(tmp_path: Path) -> None:
    import socket

    [gateway] = ports.pick_ports()
    with socket.create_server(("127.0.0.1", gateway + 3)):
        done = run("up", "--data", tmp_path / "data", "--port", str(gateway))
    assert_refused(done, 1, f"port {gateway + 3} (of content) is in use")
    assert [file.name for file in (tmp_path / "data").iterdir()] == ["lock"]


def test_a_second_platform_on_the_same_data_is_refused(tmp_path: Path) -> None:
    with data_folder.lock_folder(tmp_path):
        assert_refused(run("up", "--data", tmp_path, "--port", "0"), 1, f"(process {os.getpid()})")


def test_a_newer_data_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "platform.json").write_text('{"version": 99}')
    assert_refused(run("up", "--data", tmp_path, "--port", "0"), 1, "its format is 99")


def test_a_broken_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "platform.json").write_text(f'{{"version": {data_folder.LAYOUT_VERSION}}}')
    (tmp_path / "postgres").mkdir()
    assert_refused(run("up", "--data", tmp_path, "--port", "0"), 1, "no PG_VERSION")


def test_doctor_checks_the_installation(tmp_path: Path) -> None:
    done = run("doctor", "--data", tmp_path)
    assert done.returncode == 0, done
    assert re.search(r"ok +PostgreSQL +postgres \(PostgreSQL\) 18", done.stdout)
    assert re.search(r"ok +ffmpeg +ffmpeg version", done.stdout)
    assert "11 of 11 checks passed" in done.stdout
    done = run("doctor", "--brief", "--data", "/proc/moneyprinter")
    assert done.returncode == 1
    assert re.match(r"failed +disk +/proc is not writable", done.stdout) or "failed" in done.stdout


def test_ctrl_c_while_libraries_load_prints_no_traceback() -> None:
    """The import of a library stands for the moment: an interruption raises KeyboardInterrupt in it."""
    code = """
import sys
class Interruption:
    def find_spec(self, name, path=None, target=None):
        if name == "typer":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interruption())
from services.entry import main
main()
"""
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
    scripts = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts == {"moneyprinter": "services.entry:main"}


def test_an_old_python_is_refused() -> None:
    code = "import sys; sys.version_info = (3, 9, 2); import services"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "error: MoneyPrinter needs Python 3.11 or newer, and this is 3.9\n")
