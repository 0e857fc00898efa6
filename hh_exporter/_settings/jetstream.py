"""
Where a stream is that takes events for relays to deliver, and who may publish to it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from ssl import SSLContext
from typing import Any
from urllib.parse import urlsplit

from attrs import field, frozen
from attrs.validators import optional

from hh_exporter._settings.kinds import Kind, is_address, text, whole
from hh_exporter._settings.secret import Secret, discreet, hidden
from hh_exporter._settings.spool import expanded, to_path
from hh_exporter.exceptions import ConfigError

__all__ = ["JetStream", "subject_of"]

_PORT = 4222
_PLACE = "jetstream:"


def subject_of(place: str) -> str | None:
    """
    Find the subject of the stream that *place* stands for; None if it is an address.
    """
    return place.removeprefix(_PLACE) if place.startswith(_PLACE) else None


def _are_addresses(value: Any) -> bool:
    return isinstance(value, tuple) and bool(value) and all(map(_is_server, value))


def _is_server(value: Any) -> bool:
    return is_address(value, "nats", "tls") and not urlsplit(value).path.strip("/")


def _split(value: str) -> tuple[str, ...]:
    return tuple(part for part in map(str.strip, value.split(",")) if part)


def _to_addresses(value: str | Sequence[str]) -> Any:
    given: Any = value
    if isinstance(given, str):
        return _split(given)
    return tuple(given) if isinstance(given, Sequence) else given


_servers: Kind[tuple[str, ...]] = Kind(
    "nats:// or tls:// addresses without user, password or path, separated by commas",
    _are_addresses,
    _split,
    secret=True,  # they may hold a password by mistake
)
_subject: Kind[str] = Kind(
    'a subject without wildcards, such as "hh_exporter.events"',
    lambda v: isinstance(v, str) and bool(re.fullmatch(r"[\w-]+(\.[\w-]+)*", v, re.ASCII)),
    str,
)
_password: Kind[Secret] = Kind(
    "a text", lambda v: isinstance(v, Secret) and bool(v.reveal().strip()), Secret, secret=True
)
_credentials: Kind[Path] = Kind("a file of credentials", lambda v: isinstance(v, Path), expanded)
_ssl_context: Kind[Any] = Kind("an ssl.SSLContext", lambda v: isinstance(v, SSLContext))


@discreet
@frozen
class JetStream:
    """
    A stream of NATS JetStream that takes events, for relays to deliver.
    """

    servers: tuple[str, ...] = field(converter=_to_addresses, validator=_servers)
    """
    Addresses such as `nats://n1:4222`, several of one cluster separated by commas: one is
    chosen, and the next when that fails. `tls://` has the connection encrypted.
    """
    subject: str = field(default="hh_exporter.events", validator=_subject, kw_only=True)
    """The subject under which events are published, with the dialect behind it."""
    user: str | None = field(default=None, validator=optional(text()), kw_only=True)
    """The user's name, where the server asks for one."""
    password: Secret | None = field(
        default=None, converter=hidden, validator=optional(_password), kw_only=True
    )
    """The password of `user`."""
    credentials: Path | None = field(
        default=None,
        converter=to_path,
        validator=optional(_credentials),
        kw_only=True,
    )
    """A file with the user's token and key, as `nsc` writes it, instead of name and password."""
    ssl_context: SSLContext | None = field(
        default=None, repr=False, validator=optional(_ssl_context), kw_only=True
    )
    """For private certificate authorities, and certificates of clients."""
    max_event_bytes: int = field(
        default=1_000_000, validator=whole(1, 5_000_000, unit="bytes"), kw_only=True
    )
    """
    Bytes of one event, with its session's properties, at most: less by 48 KB than the server's
    `max_payload`, which is 1 MiB by default. A larger event is dropped as `too_large` at push.
    """

    def __attrs_post_init__(self) -> None:
        if (self.user is None) != (self.password is None):
            raise ConfigError(
                "user and password belong together: set both "
                "(HH_EXPORTER_JETSTREAM_USER, HH_EXPORTER_JETSTREAM_PASSWORD)"
            )
        if self.user is not None and self.credentials is not None:
            raise ConfigError("set user and password, or credentials, and not both")

    @property
    def address(self) -> str:
        """
        The servers as one text.
        """
        return ",".join(self.servers)

    @property
    def place(self) -> str:
        """
        What stands for the stream where no server is meant: it moves, and its events stay its own.
        """
        return f"{_PLACE}{self.subject}"

    @property
    def endpoints(self) -> list[tuple[str, int, bool]]:
        """
        Host, port and whether TLS is asked for, of each server.
        """
        urls = map(urlsplit, self.servers)
        return [(u.hostname or "", u.port or _PORT, u.scheme == "tls") for u in urls]
