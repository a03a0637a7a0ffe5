"""Identity: the peer, the caller, the user and the client of the call that the running task serves.

The authorizer sets them before the handler runs. They are context variables, which tasks of a handler inherit.
"""

from __future__ import annotations

import ipaddress
from contextvars import ContextVar
from dataclasses import dataclass
from urllib.parse import unquote

IPV6_PREFIX = 64


@dataclass(frozen=True)
class User:
    """The user on whose behalf a call is made."""

    id: str
    roles: tuple[str, ...]
    session: str = ""
    """The id of the session or API key for which the token was issued."""
    expire_time: float = float("inf")
    """When the token expires, in seconds since 1970."""


_spiffe_id: ContextVar[str] = ContextVar("spiffe_id", default="")
_caller: ContextVar[str] = ContextVar("caller")
_client: ContextVar[str] = ContextVar("client", default="")
_address: ContextVar[str] = ContextVar("address", default="")
_user: ContextVar[User] = ContextVar("user")


def spiffe_id() -> str:
    """Return the SPIFFE id in the peer's certificate, which may be foreign to the mesh; empty without a certificate."""
    return _spiffe_id.get()


def caller() -> str:
    """Return the workload that makes the running call. Raises `LookupError` outside of an authorized call."""
    return _caller.get()


def find_caller() -> str:
    """Return the workload that makes the running call; empty when it is not identified."""
    return _caller.get("")


def client() -> str:
    """Return the client for which the running call is served: a user's id, or the address of an anonymous client.

    Empty when the platform works for itself, as in a job.
    """
    return _client.get()


def client_address() -> str:
    """Return the IP address from which the running call came; empty when it is unknown.

    For a call through the gateway it is the client's address: only the gateway knows which proxies before it are
    trusted, and it overwrites `x-client-address`. For a call by another workload it is the address of the connection.
    """
    return _address.get()


def user() -> User:
    """Return the user on whose behalf the running call is made. Raises `LookupError` when there is none."""
    return _user.get()


def find_user() -> User | None:
    """Return the user on whose behalf the running call is made, or None."""
    return _user.get(None)


def set_connection(spiffe_id: str, address: str) -> None:
    """Set what the connection of the running call shows: the SPIFFE id of the peer's certificate, and its address."""
    _spiffe_id.set(spiffe_id)
    _address.set(parse_address(address))


def set_caller(workload: str) -> None:
    """Set the workload that makes the running call."""
    _caller.set(workload)


def set_client(name: str) -> None:
    """Set the client for which the running call is served."""
    _client.set(name)


def set_client_address(address: str) -> None:
    """Set the IP address from which the running call came."""
    _address.set(parse_address(address))


def set_user(user: User) -> None:
    """Set the user on whose behalf the running call is made, who is also its client."""
    _user.set(user)
    _client.set(user.id)


def parse_address(text: str) -> str:
    """Return an IP address in canonical form, an IPv4-mapped IPv6 address as IPv4; empty when `text` is no address."""
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return ""
    return str(getattr(found, "ipv4_mapped", None) or found)


def network_of(address: str) -> str:
    """Return an IPv4 address, or the /64 network of an IPv6 address, which one household gets; empty for neither."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return ""
    return str(found) if found.version == 4 else str(ipaddress.ip_network((int(found), IPV6_PREFIX), strict=False))


def peer_name(address: str, port: int) -> str:
    """Return gRPC's name of a peer: `ipv4:10.0.0.1:4711`, `ipv6:%5B::1%5D:4711`. Raises ValueError for no address."""
    found = ipaddress.ip_address(address.partition("%")[0])
    found = getattr(found, "ipv4_mapped", None) or found
    return f"ipv4:{found}:{port}" if found.version == 4 else f"ipv6:%5B{found}%5D:{port}"


def peer_host(peer: str) -> str:
    """Return the IP address in gRPC's name of a peer."""
    return unquote(peer.partition(":")[2].rpartition(":")[0]).strip("[]")
