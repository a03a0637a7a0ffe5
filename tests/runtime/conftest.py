"""Fixtures of the runtime: an audit log, and a service whose calls it records."""

from __future__ import annotations

from typing import Any

import pytest

from moneyprinter.user.v1 import audit_service_pb2_grpc as pb_grpc
from moneyprinter.video.v1 import video_service_pb2_grpc as video_grpc
from tests.mesh import Mesh
from tests.runtime.auditing import Trail, Videos, wiring


@pytest.fixture
async def trail(mesh: Mesh) -> Trail:
    """A user service with only an audit log."""
    audit_log = Trail()  # type: ignore[abstract]
    await mesh.start("user", None, wiring(pb_grpc.add_AuditServiceServicer_to_server, audit_log))
    return audit_log


@pytest.fixture
async def videos(mesh: Mesh, trail: Trail) -> Any:
    """A stub of the video service, as the gateway."""
    await mesh.start("orchestrator", None, wiring(video_grpc.add_VideoServiceServicer_to_server, Videos()))  # type: ignore[abstract]
    return mesh.stub(video_grpc.VideoServiceStub, caller="gateway")
