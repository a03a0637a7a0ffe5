"""Master key: the secret `storage/master-key` of the config service, made by whichever replica starts first."""

from __future__ import annotations

import secrets

from moneyprinter.config.v1 import config_service_pb2 as pb
from moneyprinter.config.v1 import config_service_pb2_grpc as pb_grpc
from moneyprinter.errors import Conflict, NotFound
from services.runtime.config import ConfigError
from services.storage.sealing import KEY_BYTES, MasterKey

NAME = "storage/master-key"


async def fetch(config: pb_grpc.ConfigServiceAsyncStub) -> MasterKey:
    """Read the key; make it when there is none yet."""
    try:
        found = await config.GetSecret(pb.GetSecretRequest(name=NAME))
    except NotFound:
        value = secrets.token_bytes(KEY_BYTES)
        try:
            written = await config.PutSecret(pb.PutSecretRequest(name=NAME, value=value))
        except Conflict:
            # Another replica was faster.
            return await fetch(config)
        return MasterKey(value, written.version)
    if len(found.value) != KEY_BYTES:
        raise ConfigError(f"the secret {NAME} holds {len(found.value)} bytes; it must be {KEY_BYTES}")
    return MasterKey(found.value, found.version)
