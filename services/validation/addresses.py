"""Addresses: which of them a clip may come from. The public internet, and no network of ours."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network

# Not public in fact, though the registry that `ipaddress` follows says so, or tunnels that hide where they lead.
_REFUSED: tuple[Network, ...] = tuple(
    ip_network(network)
    for network in (
        "192.0.0.0/24",  # protocol assignments
        "192.88.99.0/24",  # relays of 6to4
        "168.63.129.16/32",  # metadata of Azure's machines
        "::/96",  # IPv4 in its oldest disguise
        "64:ff9b::/96",  # NAT64
        "64:ff9b:1::/48",  # NAT64 of a local network
        "2001::/32",  # Teredo
        "2002::/16",  # 6to4
        "3fff::/20",  # documentation
        "fec0::/10",  # site-local, long withdrawn
    )
)


def may_fetch(address: str, allowed: Iterable[Network] = ()) -> bool:
    """Whether a clip may come from a numeric address: a public one, or one of the networks that are allowed."""
    try:
        found = ip_address(address)
    except ValueError:
        return False
    if isinstance(found, IPv6Address) and found.ipv4_mapped:
        found = found.ipv4_mapped
    return _inside(found, allowed) or _public(found)


def _public(address: IPv4Address | IPv6Address) -> bool:
    return address.is_global and not address.is_multicast and not address.is_reserved and not _inside(address, _REFUSED)


def _inside(address: IPv4Address | IPv6Address, networks: Iterable[Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)
