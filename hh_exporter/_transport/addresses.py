"""
Which hosts are this machine.

By name and number alone: nothing is looked up.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

__all__ = ["is_loopback", "parse_address"]


def is_loopback(host: str) -> bool:
    """
    Whether *host*, in lower case, is this machine itself (RFC 6761 §6.3 for names).
    """
    name = host.rstrip(".")
    address = parse_address(name)
    if address is not None:
        return address.is_loopback
    return name == "localhost" or name.endswith(".localhost")


def parse_address(host: str) -> IPv4Address | IPv6Address | None:
    """
    Read *host* as a number; None if it is a name.
    """
    try:
        return ip_address(host)
    except ValueError:
        return None
