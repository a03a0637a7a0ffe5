"""Signing key: the secret `user/signing-key` of the config service, made by whichever replica starts first."""

from __future__ import annotations

from moneyprinter.config.v1 import config_service_pb2 as pb
from moneyprinter.config.v1 import config_service_pb2_grpc as pb_grpc
from moneyprinter.errors import Conflict, NotFound
from services.user.tokens import new_key

NAME = "user/signing-key"


async def fetch(config: pb_grpc.ConfigServiceAsyncStub) -> bytes:
    """Read the key; make it when there is none yet."""
    try:
        return (await config.GetSecret(pb.GetSecretRequest(name=NAME))).value
    except NotFound:
        key = new_key()
        try:
            await config.PutSecret(pb.PutSecretRequest(name=NAME, value=key))
        except Conflict:
            # Another replica was faster.
            return await fetch(config)
        return key
