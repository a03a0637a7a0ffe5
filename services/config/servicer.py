"""Servicer: ConfigService."""

from __future__ import annotations

from typing import Any

from moneyprinter.config.v1 import config_service_pb2 as pb
from moneyprinter.config.v1 import config_service_pb2_grpc as pb_grpc
from services.config import secrets
from services.runtime import identity


class ConfigServicer(pb_grpc.ConfigServiceServicer):
    """Implements ConfigService."""

    def __init__(self, store: secrets.SecretStore, audit: secrets.Audit) -> None:
        self._store = store
        self._audit = audit

    async def GetSecret(self, request: pb.GetSecretRequest, context: Any) -> pb.GetSecretResponse:
        secret = await secrets.read_secret(self._store, self._audit, identity.caller(), request.name)
        return pb.GetSecretResponse(value=secret.value, version=secret.version)

    async def PutSecret(self, request: pb.PutSecretRequest, context: Any) -> pb.PutSecretResponse:
        version = await secrets.write_secret(
            self._store, self._audit, identity.caller(), request.name, request.value, request.replaces_version
        )
        return pb.PutSecretResponse(version=version)
