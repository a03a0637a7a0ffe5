"""Servicer: ConfigService."""

from __future__ import annotations

from typing import Any

from moneyprinter.config.v1 import config_service_pb2 as pb
from moneyprinter.config.v1 import config_service_pb2_grpc as pb_grpc
from services.config import database, keys, secrets
from services.runtime import identity


class ConfigServicer(pb_grpc.ConfigServiceServicer):
    """Implements ConfigService."""

    def __init__(
        self, store: secrets.SecretStore, wrapper: keys.KeyWrapper, users: database.DatabaseUsers, audit: secrets.Audit
    ) -> None:
        self._store = store
        self._wrapper = wrapper
        self._users = users
        self._audit = audit

    async def GetSecret(self, request: pb.GetSecretRequest, context: Any) -> pb.GetSecretResponse:
        secret = await secrets.read_secret(self._store, self._audit, identity.caller(), request.name)
        return pb.GetSecretResponse(value=secret.value, version=secret.version)

    async def PutSecret(self, request: pb.PutSecretRequest, context: Any) -> pb.PutSecretResponse:
        version = await secrets.write_secret(
            self._store, self._audit, identity.caller(), request.name, request.value, request.replaces_version
        )
        return pb.PutSecretResponse(version=version)

    async def WrapKey(self, request: pb.WrapKeyRequest, context: Any) -> pb.WrapKeyResponse:
        wrapped = await keys.wrap_key(
            self._wrapper, self._audit, identity.caller(), request.name, request.key, request.context
        )
        return pb.WrapKeyResponse(wrapped_key=wrapped)

    async def UnwrapKey(self, request: pb.UnwrapKeyRequest, context: Any) -> pb.UnwrapKeyResponse:
        key = await keys.unwrap_key(
            self._wrapper, self._audit, identity.caller(), request.name, request.wrapped_key, request.context
        )
        return pb.UnwrapKeyResponse(key=key)

    async def RewrapKey(self, request: pb.RewrapKeyRequest, context: Any) -> pb.RewrapKeyResponse:
        wrapped = await keys.rewrap_key(
            self._wrapper, self._audit, identity.caller(), request.name, request.wrapped_key, request.context
        )
        return pb.RewrapKeyResponse(wrapped_key=wrapped)

    async def IssueDatabaseUser(
        self, request: pb.IssueDatabaseUserRequest, context: Any
    ) -> pb.IssueDatabaseUserResponse:
        user = await database.issue_database_user(self._users, self._audit, identity.caller())
        return pb.IssueDatabaseUserResponse(
            username=user.name, password=user.password, lease_id=user.lease_id, lease_seconds=user.lease_seconds
        )

    async def RenewDatabaseUser(
        self, request: pb.RenewDatabaseUserRequest, context: Any
    ) -> pb.RenewDatabaseUserResponse:
        seconds = await database.renew_database_user(self._users, identity.caller(), request.lease_id)
        return pb.RenewDatabaseUserResponse(lease_seconds=seconds)
