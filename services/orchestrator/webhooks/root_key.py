"""Root key: the secret `orchestrator/webhook-key` of the config service, made by whichever instance needs it first."""

from __future__ import annotations

import secrets

from moneyprinter.config.v1 import config_service_pb2 as pb
from moneyprinter.config.v1 import config_service_pb2_grpc as pb_grpc
from moneyprinter.errors import Conflict, DataLoss, NotFound
from services.orchestrator.webhooks.signing import KEY_BYTES

NAME = "orchestrator/webhook-key"


async def fetch(config: pb_grpc.ConfigServiceAsyncStub) -> bytes:
    """Read the key; make it when there is none yet. Raises DataLoss when it has a wrong length."""
    try:
        value = (await config.GetSecret(pb.GetSecretRequest(name=NAME))).value
    except NotFound:
        value = secrets.token_bytes(KEY_BYTES)
        try:
            await config.PutSecret(pb.PutSecretRequest(name=NAME, value=value))
        except Conflict:
            # Another instance was faster.
            return await fetch(config)
    if len(value) != KEY_BYTES:
        raise DataLoss(f"the secret {NAME} holds {len(value)} bytes; it must be {KEY_BYTES}", reason="DATA_CORRUPT")
    return value
