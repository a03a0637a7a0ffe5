"""Exchange: a machine exchanges its API key for an access token."""

from __future__ import annotations

import hmac
import re

from moneyprinter.errors import Unauthenticated
from services.user.api_keys.model import KEY_PREFIX, find_active_holder
from services.user.client import Client
from services.user.context import Context, TokenSubject
from services.user.sessions.model import IssuedTokens
from services.user.tokens.opaque_tokens import hash_token

_API_KEY = re.compile(r"mpk_([0-9a-f]{16})_([0-9a-f]{64})")


async def exchange_api_key(context: Context, api_key: str, client: Client) -> IssuedTokens:
    """Exchange a key for an access token. Raises `Unauthenticated`, with one message for every problem of the key."""
    async with context.audit_action("api_key.exchange", client) as entry:
        match, now = _API_KEY.fullmatch(api_key), context.now()
        key_id, secret = (KEY_PREFIX + match[1], match[2]) if match else ("", "")
        found = await context.store.api_keys.find(key_id)
        if found is not None:
            entry.target = key_id
        account = find_active_holder(found, now)
        if found is None or account is None or not hmac.compare_digest(found[0].sha256, hash_token(secret)):
            await context.throttle.count_invalid_token("API key", client.address, now)
            raise Unauthenticated("the API key is unknown, expired, or revoked", reason="API_KEY_INVALID")
        entry.actor = account.id
        await context.store.api_keys.record_use(key_id, client.address, now)
        subject = TokenSubject(account.id, key_id, account.roles, found[0].expire_time)
        lifetime = min(context.tokens.lifetime, found[0].expire_time - now)
        return IssuedTokens(context.tokens.sign(subject, now), lifetime)
