"""The wheel that clients install has one top-level package."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parent.parent


def test_the_client_wheel_installs_only_moneyprinter(tmp_path: Path) -> None:
    [wheel] = WheelBuilder(str(ROOT / "proto")).build(directory=str(tmp_path), versions=["standard"])
    names = zipfile.ZipFile(wheel).namelist()
    packages = {name.partition("/")[0] for name in names if ".dist-info/" not in name}
    assert packages == {"moneyprinter"}
    assert {"moneyprinter/client.py", "moneyprinter/py.typed", "moneyprinter/buf/validate/validate_pb2.py"} <= set(
        names
    )


def test_generated_stubs_do_not_import_the_package_buf() -> None:
    """Clients do not have it, or have the one of another distribution."""
    for pattern in ("*_pb2.py", "*_pb2.pyi", "*_pb2_grpc.py", "*_pb2_grpc.pyi"):
        for path in (ROOT / "proto").rglob(pattern):
            assert not re.search(r"^(from|import) buf\b", path.read_text(), re.MULTILINE), path
