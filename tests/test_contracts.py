"""The contracts: their generated files are up to date, and buf lint passes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import grpc_tools
import pytest
from google.protobuf import descriptor_pb2

from moneyprinter.buf.validate import validate_pb2

ROOT = Path(__file__).parent.parent


def run(*command: str) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr + ("" if done.returncode == 0 else f"ended with {done.returncode}")


def test_generated_files_are_up_to_date() -> None:
    assert run(sys.executable, "scripts/generate", "--check") == ""


@pytest.mark.parametrize("source", ["gateway/api.binpb", "."])
def test_buf_lint_passes(source: str) -> None:
    """For the descriptor set, and for the texts, as in a fresh clone."""
    buf = Path(sys.executable).parent / "buf"
    assert run(str(buf), "lint", source) == ""


def test_buf_and_protovalidate_have_the_same_rules(tmp_path: Path) -> None:
    """The text of validate.proto has the fields of the module in the protovalidate wheel."""
    target = tmp_path / "validate.binpb"
    include = Path(grpc_tools.__file__).parent / "_proto"
    assert run(sys.executable, "-m", "grpc_tools.protoc", "-Ithird_party", f"-I{include}",
               f"--descriptor_set_out={target}", "buf/validate/validate.proto") == ""  # fmt: skip
    [text] = descriptor_pb2.FileDescriptorSet.FromString(target.read_bytes()).file
    shipped = descriptor_pb2.FileDescriptorProto.FromString(validate_pb2.DESCRIPTOR.serialized_pb)

    def fields(file: descriptor_pb2.FileDescriptorProto) -> dict[str, dict[str, int]]:
        return {kind.name: {field.name: field.number for field in kind.field} for kind in file.message_type}

    assert fields(text) == fields(shipped)
