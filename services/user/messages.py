"""Messages: conversions between domain objects and protobuf messages that several servicers share."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from moneyprinter.user.v1 import (
    account_pb2,
)
from services.runtime import identity
from services.user.accounts.model import Account
from services.user.client import Client
from services.user.context import Actor

MAX_USER_AGENT = 256
CREATED = (("x-http-code", "201"),)


def read_client(context: Any) -> Client:
    """Return where the running call comes from, and the program that it claims to come from."""
    user_agent = str(dict(context.invocation_metadata()).get("user-agent", ""))[:MAX_USER_AGENT]
    return Client(identity.client_address(), "".join(letter for letter in user_agent if letter.isprintable()))


def read_actor(context: Any) -> Actor:
    """Return the user on whose behalf the running call is made."""
    user = identity.user()
    return Actor(user.id, user.session, read_client(context))


def account_message(account: Account) -> account_pb2.Account:
    """Return the message of an account."""
    return account_pb2.Account(
        account_id=account.id,
        username=account.username,
        roles=account.roles,
        display_name=account.profile.display_name,
        email=account.profile.email,
        locale=account.profile.locale,
        create_time=to_timestamp(account.create_time),
        disable_time=to_timestamp(account.disable_time),
        mfa_enabled=account.mfa_enabled,
    )


def optional_duration(request: Message, field: str) -> timedelta | None:
    """Return a field's duration; None when it is not set."""
    if not request.HasField(field):
        return None
    duration: Duration = getattr(request, field)
    return duration.ToTimedelta()


def to_timestamp(time: datetime | None) -> Timestamp | None:
    """Return the message of a time; None for None."""
    if time is None:
        return None
    timestamp = Timestamp()
    timestamp.FromDatetime(time)
    return timestamp
