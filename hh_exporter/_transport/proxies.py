"""
The proxy that the environment asks for.

Reads HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY as other programs do. The
rule: a value that it can't use is an error and never a direct connection, which may
be forbidden where a proxy is set; and no text here shows a proxy's value, which can
hold a password.
"""

from __future__ import annotations

import os
import re
from base64 import b64encode
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_network
from urllib.parse import SplitResult, unquote_to_bytes, urlsplit

from attrs import field, frozen

from hh_exporter._transport.addresses import is_loopback, parse_address
from hh_exporter.exceptions import ConfigError

__all__ = ["Proxy", "find_proxy"]

_PORTS = {"http": 80, "https": 443}


@frozen
class Proxy:
    """
    The address of a proxy, and the credentials for it.
    """

    url: str
    """Without the user and the password."""
    authorization: str | None = field(default=None, repr=False)
    """The value of Proxy-Authorization (RFC 7617), None where no user is named."""


def find_proxy(base_url: str, environ: Mapping[str, str]) -> Proxy | None:
    """
    Find the proxy through which *base_url* is to be reached.

    A lower-case name goes before an upper-case one, the scheme's own variable
    before ALL_PROXY, and NO_PROXY before all; blank means unset. This machine
    is never reached through a proxy.

    Returns:
        The proxy, None to connect directly.

    Raises:
        ConfigError: The variable that counts names no proxy that we can use.
    """
    url = urlsplit(base_url)
    if _is_exempt(url, _read("no_proxy", environ)[1]):
        return None
    for name in (f"{url.scheme}_proxy", "all_proxy"):
        variable, value = _read(name, environ)
        if value:
            return _parse(variable, value)
    return None


def _read(name: str, environ: Mapping[str, str]) -> tuple[str, str]:
    """
    Read a variable, in lower or upper case; a blank lower-case one hides the other.
    """
    variable = name if name in environ else name.upper()
    if variable == "HTTP_PROXY" and "REQUEST_METHOD" in environ:
        return variable, ""  # under CGI a client sets it, with a field "Proxy" (CVE-2016-1000110)
    return variable, environ.get(variable, "").strip()


def _parse(variable: str, value: str) -> Proxy:
    try:
        url = urlsplit(value if "://" in value else f"http://{value}")
        is_whole = bool(url.hostname) and url.port != 0 and not re.search(r"\s", value)
    except ValueError:
        raise ConfigError(f"{variable} must be the URL of a proxy") from None
    if url.scheme not in _PORTS:
        raise ConfigError(f"{variable}: only http:// and https:// proxies are supported")
    # What follows the port is the rest of a password with characters that need a %.
    if not is_whole or url.path.strip("/") or url.query or url.fragment:
        raise ConfigError(f"{variable} must be the URL of a proxy")
    _, _, address = url.netloc.rpartition("@")
    return Proxy(f"{url.scheme}://{address}", _authorization(url))


def _authorization(url: SplitResult) -> str | None:
    if url.username is None:
        return None
    user, password = (unquote_to_bytes(os.fsencode(t or "")) for t in (url.username, url.password))
    return f"Basic {b64encode(user + b':' + password).decode()}"


def _is_exempt(url: SplitResult, no_proxy: str) -> bool:
    host = (url.hostname or "").rstrip(".")
    port = url.port or _PORTS.get(url.scheme)
    if is_loopback(host):
        return True
    address = parse_address(host)
    return any(
        _covers(entry, host, port, address) for entry in re.split(r"[,\s]+", no_proxy) if entry
    )


def _covers(
    entry: str, host: str, port: int | None, address: IPv4Address | IPv6Address | None
) -> bool:
    """
    Whether an entry of NO_PROXY, a domain or a network with or without a port, covers a host.
    """
    if entry == "*":
        return True
    if found := re.fullmatch(r"(\[.*\]|[^:]*):([0-9]{1,5})", entry):
        entry, its_port = found.groups()
        if int(its_port) != port:
            return False
    if address is not None:
        try:
            return address in ip_network(entry.strip("[]"), strict=False)
        except ValueError:
            return False
    domain = entry.lower().removeprefix("*").strip(".")
    return bool(domain) and (host == domain or host.endswith(f".{domain}"))
