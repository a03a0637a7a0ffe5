"""What the tests of the runtime share: an audit trail, and a service whose calls are told to it."""

from __future__ import annotations

from typing import Any

import pytest

from moneyprinter.user.v1 import audit_service_pb2_grpc as pb_grpc
from moneyprinter.video.v1 import video_service_pb2_grpc as video_grpc
from tests.mesh import Mesh
from tests.runtime.auditing import Trail, Videos, wiring


@pytest.fixture
async def trail(mesh: Mesh) -> Trail:
    """A user service that keeps nothing but the trail."""
    kept = Trail()  # type: ignore[abstract]
    await mesh.start("user", None, wiring(pb_grpc.add_AuditServiceServicer_to_server, kept))
    return kept


@pytest.fixture
async def videos(mesh: Mesh, trail: Trail) -> Any:
    """The gateway's stub of videos."""
    await mesh.start("orchestrator", None, wiring(video_grpc.add_VideoServiceServicer_to_server, Videos()))  # type: ignore[abstract]
    return mesh.stub(video_grpc.VideoServiceStub, caller="gateway")
