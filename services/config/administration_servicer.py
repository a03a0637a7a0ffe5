"""Administration servicer: SecretAdministrationService."""

from __future__ import annotations

from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from moneyprinter.config.v1 import secret_administration_service_pb2 as pb
from moneyprinter.config.v1 import secret_administration_service_pb2_grpc as pb_grpc
from moneyprinter.errors import DataLoss, PermissionDenied
from services.config.administration import SecretAdministration, SecretState
from services.runtime import identity

# The first part of the ids of API keys, which the user service makes.
_API_KEY_PREFIX = "key_"


class SecretAdministrationServicer(pb_grpc.SecretAdministrationServiceServicer):
    """Implements SecretAdministrationService."""

    def __init__(self, administration: SecretAdministration) -> None:
        self._administration = administration

    async def ListSecrets(self, request: pb.ListSecretsRequest, context: Any) -> pb.ListSecretsResponse:
        _require_session()
        return pb.ListSecretsResponse(secrets=map(_to_message, await self._administration.list_states()))

    async def ReadSecret(self, request: pb.ReadSecretRequest, context: Any) -> pb.ReadSecretResponse:
        """Return the value of a secret. Raises `DataLoss` when it is not text."""
        secret = await self._administration.read(_require_session(), request.name)
        try:
            return pb.ReadSecretResponse(value=secret.value.decode(), version=secret.version)
        except UnicodeDecodeError:
            raise DataLoss(f"the secret {request.name} is not text; replace it", reason="DATA_CORRUPT") from None

    async def ReplaceSecret(self, request: pb.ReplaceSecretRequest, context: Any) -> pb.ReplaceSecretResponse:
        version = await self._administration.replace(
            _require_session(), request.name, request.value, request.replaces_version
        )
        return pb.ReplaceSecretResponse(version=version)

    async def RotateSecret(self, request: pb.RotateSecretRequest, context: Any) -> pb.RotateSecretResponse:
        return pb.RotateSecretResponse(version=await self._administration.rotate(_require_session(), request.name))

    async def ListSecretVersions(
        self, request: pb.ListSecretVersionsRequest, context: Any
    ) -> pb.ListSecretVersionsResponse:
        _require_session()
        versions = await self._administration.list_versions(request.name)
        return pb.ListSecretVersionsResponse(
            versions=(
                pb.SecretVersion(version=each.version, create_time=_to_timestamp(each.created)) for each in versions
            )
        )


def _require_session() -> str:
    """Return the account of the call. Raises `PermissionDenied` when an API key makes it."""
    user = identity.user()
    if user.session.startswith(_API_KEY_PREFIX):
        raise PermissionDenied("an API key cannot do this; sign in", reason="SESSION_REQUIRED")
    return user.id


def _to_message(state: SecretState) -> pb.SecretSummary:
    kind = state.kind
    return pb.SecretSummary(
        name=kind.name,
        kind=kind.kind,
        version=state.newest.version,
        create_time=_to_timestamp(state.newest.created),
        rotation_days=kind.rotation_days,
        is_due=state.is_due,
        rotated_by=kind.rotated_by,
        is_editable=kind.is_editable,
    )


def _to_timestamp(seconds: float) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromMilliseconds(int(seconds * 1000))
    return timestamp
