"""`scripts/setup` installs once, repairs an interrupted run, and reports in one line what is missing."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Stands for Python: it makes a .venv with itself, and writes down what it was asked to install.
PYTHON = """#!/usr/bin/env bash
case "$*" in
  -V) echo "Python VERSION" ;;
  *version_info*) [[ VERSION != 3.9* ]] ;;
  *ensurepip*) [[ ! -e no-venv ]] ;;
  "-m venv .venv") mkdir -p .venv/bin && cp "$0" .venv/bin/python && echo venv >>calls ;;
  "-m pip install"*--help) ;;
  "-m pip install"*voice.lock) echo "$*" >>calls; [[ ! -e no-voice ]] ;;
  "-m pip install"*)
    echo "$*" >>calls
    if [[ -e no-network ]]; then
      echo "WARNING: Retrying after connection broken by NewConnectionError: Temporary failure in name resolution" >&2
      echo "ERROR: No matching distribution found for annotated-doc==0.0.7" >&2
      exit 1
    elif [[ -e no-packages ]]; then
      echo "ERROR: No matching distribution found for annotated-doc==0.0.7" >&2
      exit 1
    fi ;;
  *) exit 99 ;;
esac
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    typescript = "tests/gateway/typescript/package-lock.json"
    for name in ("scripts/setup", "pyproject.toml", "proto/pyproject.toml", typescript):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    python(tmp_path, "3.12.1")
    return tmp_path


def python(checkout: Path, version: str) -> None:
    (checkout / "python").write_text(PYTHON.replace("VERSION", version))
    (checkout / "python").chmod(0o755)


def setup(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [checkout / "scripts" / "setup", *arguments],
        env={"PATH": "/usr/bin:/bin", "PYTHON": str(checkout / "python")},
        capture_output=True,
        text=True,
        check=False,
    )


def take_calls(checkout: Path) -> list[str]:
    """Return and clear the record of calls."""
    file = checkout / "calls"
    done = file.read_text().splitlines() if file.exists() else []
    file.unlink(missing_ok=True)
    return done


def test_packages_are_wheels_checked_by_their_hashes(checkout: Path) -> None:
    assert setup(checkout).returncode == 0
    venv, locked, demo, voice, ours = take_calls(checkout)
    assert venv == "venv"
    for call in (locked, demo, voice):
        assert "--require-hashes --only-binary :all:" in call
    assert "requirements/laptop.lock" in locked
    assert "--no-deps --no-build-isolation -e proto -e ." in ours


def test_a_second_run_does_nothing(checkout: Path) -> None:
    setup(checkout, "test")
    take_calls(checkout)
    for kind in ("test", "laptop"):
        again = setup(checkout, kind)
        assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert take_calls(checkout) == []


def test_the_tests_packages_are_added_to_the_laptops(checkout: Path) -> None:
    setup(checkout, "laptop")
    take_calls(checkout)
    setup(checkout, "test")
    assert "venv" not in (done := take_calls(checkout))
    assert "requirements/test.lock" in done[0]


def test_a_changed_lock_is_installed(checkout: Path) -> None:
    setup(checkout)
    take_calls(checkout)
    with (checkout / "requirements" / "laptop.lock").open("a") as lock:
        lock.write("# changed\n")
    setup(checkout)
    assert len(take_calls(checkout)) == 4


def test_without_the_neural_voice_the_set_up_goes_on_with_one_line(checkout: Path) -> None:
    (checkout / "no-voice").touch()
    done = setup(checkout)
    assert done.returncode == 0
    assert [line for line in done.stderr.splitlines() if "espeak-ng speaks" in line] == done.stderr.splitlines() != []
    take_calls(checkout)
    assert (setup(checkout).returncode, take_calls(checkout)) == (0, [])


def test_an_interrupted_set_up_is_repeated(checkout: Path) -> None:
    (checkout / "no-packages").touch()
    interrupted = setup(checkout)
    assert interrupted.returncode == 1
    assert "could not be installed" in interrupted.stderr
    assert "annotated-doc" in interrupted.stderr, "what pip printed is shown where it may help"
    (checkout / "no-packages").unlink()
    take_calls(checkout)
    (checkout / ".venv" / "half-a-package").touch()
    assert setup(checkout).returncode == 0
    assert take_calls(checkout)[0] == "venv"
    assert not (checkout / ".venv" / "half-a-package").exists()


def test_without_a_network_the_set_up_ends_with_one_line(checkout: Path) -> None:
    (checkout / "no-network").touch()
    refused = setup(checkout)
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert "needs a network" in refused.stderr


def test_another_python_gets_a_new_venv(checkout: Path) -> None:
    setup(checkout)
    take_calls(checkout)
    python(checkout / ".venv" / "bin", "3.12.2")
    python(checkout, "3.12.2")
    setup(checkout)
    assert take_calls(checkout)[0] == "venv"


def test_an_old_python_is_refused_in_one_line(checkout: Path) -> None:
    python(checkout, "3.9.2")
    refused = setup(checkout)
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert "Python 3.9.2 is too old" in refused.stderr


def test_a_python_without_venv_is_refused_in_one_line(checkout: Path) -> None:
    (checkout / "no-venv").touch()
    refused = setup(checkout)
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert "python3-venv" in refused.stderr


def test_an_unknown_kind_is_refused(checkout: Path) -> None:
    assert "choose laptop or test" in setup(checkout, "kitchen").stderr
