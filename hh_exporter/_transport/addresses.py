"""
Which addresses a server may have, which of them are the same, and which are this machine.

By name and number alone: nothing is looked up.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any
from urllib.parse import urlsplit

__all__ = ["is_base_url", "is_loopback", "parse_address", "server_of"]


def is_base_url(value: Any) -> bool:
    """
    Whether *value* is an address of HTTP, to which paths can be appended.
    """
    try:
        url = urlsplit(value)
        port = url.port
    except (ValueError, AttributeError, TypeError):
        return False
    return (
        isinstance(value, str)
        and url.scheme in ("http", "https")
        and bool(url.hostname)
        and port != 0
        and not (url.username or url.password or url.query or url.fragment)
        and not re.search(r"\s", value)
    )


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
