"""Addresses: public ones are allowed, private ones only by configuration."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from services.validation.addresses import may_fetch


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "::ffff:8.8.8.8"])
def test_public_addresses_are_allowed(address: str) -> None:
    assert may_fetch(address)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.255.255.254", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1"),  # noqa: S104
        *("169.254.169.254", "100.100.100.200", "168.63.129.16", "192.0.0.192", "192.88.99.1", "198.18.0.1"),
        *("192.0.2.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"),
        *("::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:a9fe:a9fe", "64:ff9b::7f00:1", "64:ff9b:1::1"),
        *("2002:7f00:1::", "2001::1", "fe80::1", "fe80::1%1", "fec0::1", "fd00:ec2::254", "ff02::1", "2001:db8::1"),
        "3fff::1",
        *("", "example.com", "0x7f000001"),
    ],
)
def test_all_other_addresses_are_refused(address: str) -> None:
    assert not may_fetch(address)


def test_only_an_allowed_network_is_reachable() -> None:
    allowed = (ip_network("10.1.0.0/16"), ip_network("fd00::/64"))
    assert may_fetch("10.1.2.3", allowed)
    assert may_fetch("::ffff:10.1.2.3", allowed)
    assert may_fetch("fd00::1", allowed)
    assert not may_fetch("10.2.0.1", allowed)
    assert not may_fetch("fd00:1::1", allowed)
