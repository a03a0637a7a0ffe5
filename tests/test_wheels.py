"""Wheels: `moneyprinter` has what clients need, and the services' wheel adds the contracts between services."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

from moneyprinter.access.v1 import access_pb2

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheels of the clients and of the services."""
    folder = tmp_path_factory.mktemp("wheels")
    return {
        name: Path(next(WheelBuilder(str(root)).build(directory=str(folder), versions=["standard"])))
        for name, root in (("client", ROOT / "proto"), ("services", ROOT))
    }


def files_of(wheel: Path) -> set[str]:
    """The files of a wheel, without its metadata."""
    return {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}


def test_the_client_wheel_installs_only_moneyprinter(wheels: dict[str, Path]) -> None:
    names = files_of(wheels["client"])
    assert {name.partition("/")[0] for name in names} == {"moneyprinter"}
    assert {"moneyprinter/client.py", "moneyprinter/py.typed", "moneyprinter/buf/validate/validate_pb2.py"} <= names


def test_each_contract_is_in_one_wheel(wheels: dict[str, Path]) -> None:
    client, services = files_of(wheels["client"]), files_of(wheels["services"])
    assert not client & services
    proto = ROOT / "proto"
    contracts = {path.relative_to(proto).as_posix() for path in (proto / "moneyprinter").rglob("*.proto")}
    assert contracts <= client | services


def test_the_client_wheel_has_the_contracts_that_the_gateway_serves(wheels: dict[str, Path]) -> None:
    names = files_of(wheels["client"])
    for path in (ROOT / "proto" / "moneyprinter").glob("*/v1/*_service_pb2.py"):
        module = ".".join(path.relative_to(ROOT / "proto").with_suffix("").parts)
        services = importlib.import_module(module).DESCRIPTOR.services_by_name.values()
        callers = {
            caller
            for service in services
            # The gateway calls Envoy's own protocol, and does not serve it.
            if service.full_name.startswith("moneyprinter.")
            for method in service.methods
            for caller in method.GetOptions().Extensions[access_pb2.rule].callers
        }
        assert (path.relative_to(ROOT / "proto").as_posix() in names) == ("gateway" in callers), module


def test_installed_wheels_import_without_the_checkout(wheels: dict[str, Path], tmp_path: Path) -> None:
    """The client alone, then both together in one folder."""
    for name, module in (("client", "moneyprinter.client"), ("services", "services.orchestrator.server")):
        zipfile.ZipFile(wheels[name]).extractall(tmp_path)
        program = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import {module} as m; print(m.__file__)"
        # -S leaves out the editable install of the checkout, whose dependencies are added by their folder alone.
        packages = next(path for path in sys.path if path.endswith("site-packages"))
        program = f"import sys; sys.path.append({packages!r}); {program}"
        done = subprocess.run((sys.executable, "-I", "-S", "-c", program), capture_output=True, text=True, check=False)
        assert done.stdout.startswith(str(tmp_path)), done.stderr


def test_generated_stubs_do_not_import_the_package_buf() -> None:
    """Clients do not have it, or have the one of another distribution."""
    for pattern in ("*_pb2.py", "*_pb2.pyi", "*_pb2_grpc.py", "*_pb2_grpc.pyi"):
        for path in (ROOT / "proto").rglob(pattern):
            assert not re.search(r"^(from|import) buf\b", path.read_text(), re.MULTILINE), path
