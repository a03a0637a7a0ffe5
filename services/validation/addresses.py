"""Addresses: whether the platform may connect to one. Public addresses are allowed, private networks are not."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network

# Networks that the registry behind `ipaddress` lists as public but are not, and tunnels that hide their destination.
_REFUSED: tuple[Network, ...] = tuple(
    ip_network(network)
    for network in (
        "192.0.0.0/24",  # protocol assignments
        "192.88.99.0/24",  # 6to4 relays
        "168.63.129.16/32",  # Azure's metadata endpoint
        "::/96",  # IPv4-compatible addresses
        "64:ff9b::/96",  # NAT64
        "64:ff9b:1::/48",  # local-use NAT64
        "2001::/32",  # Teredo
        "2002::/16",  # 6to4
        "3fff::/20",  # documentation
        "fec0::/10",  # site-local, deprecated
    )
)


def may_fetch(address: str, allowed: Iterable[Network] = ()) -> bool:
    """Whether the platform may connect to a numeric address: a public one, or one in an allowed network."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped:
        parsed = parsed.ipv4_mapped
    return _is_inside(parsed, allowed) or _is_public(parsed)


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if _is_inside(address, _REFUSED):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _is_inside(address: IPv4Address | IPv6Address, networks: Iterable[Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)
