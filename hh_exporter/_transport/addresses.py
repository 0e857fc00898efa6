"""
Which addresses are of the same server, and which are this machine.

By name and number alone: nothing is looked up.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

__all__ = ["is_loopback", "parse_address", "server_of"]


def server_of(address: str) -> tuple[object, ...]:
    """
    Reduce *address* to what identifies the server; this machine has several names.
    """
    url = urlsplit(address)
    host = url.hostname or ""
    return url.scheme, "" if is_loopback(host) else host, url.port or url.scheme, url.path


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
