"""
Settings: arguments first, then the environment, read once, then defaults.

A parameter `queue.max_bytes` is `HH_EXPORTER_QUEUE_MAX_BYTES` in the
environment; every scalar has such a name, made from the fields of `Settings`.
Then come the names that the vendor's clients read. A blank value counts as
unset. A group that is given as an argument is given whole.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from inspect import iscoroutinefunction
from ssl import SSLContext
from typing import Any, Literal
from urllib.parse import urlsplit

import attrs
from attrs import Factory, field, frozen
from attrs.validators import optional

from hh_exporter._dialects.registry import DIALECTS
from hh_exporter._dialects.vendor import DATA_PLANE, why_unable
from hh_exporter._log import get_log
from hh_exporter._outcomes import Settlement
from hh_exporter._settings.batch import BatchLimits
from hh_exporter._settings.hooks import BeforeSend
from hh_exporter._settings.jetstream import JetStream
from hh_exporter._settings.kinds import Kind, choice, flag, is_address, seconds, share, text, whole
from hh_exporter._settings.queue import QueueLimits
from hh_exporter._settings.retry import RetryPolicy
from hh_exporter._settings.secret import Secret, hidden
from hh_exporter._settings.spool import Spool
from hh_exporter._transport.addresses import is_loopback, server_of
from hh_exporter._transport.trust import find_trust
from hh_exporter.exceptions import ConfigError

__all__ = [
    "Settings",
    "find_variable",
    "is_unset",
    "read_fields",
    "read_settings",
    "variables_of",
]

log = get_log(__name__)

_PREFIX = "HH_EXPORTER"
_VENDOR = {
    "api_key": ("HH_INGESTION_API_KEY", "HH_PROJECT_API_KEY", "HH_API_KEY"),
    "base_url": ("HH_DATA_PLANE_URL", "HH_API_URL"),
    "project": ("HH_PROJECT",),
    "source": ("HH_SOURCE",),
    "request_timeout": ("HH_API_TIMEOUT",),
}
"""What the vendor's own clients read, the first one first."""


_api_key: Kind[Secret] = Kind(
    "a key of visible ASCII characters",
    lambda v: isinstance(v, Secret) and bool(re.fullmatch(r"[!-~]+", v.reveal())),
    lambda text: Secret(text.strip()),
    secret=True,
)
_base_url: Kind[str] = Kind(
    "an http:// or https:// address without user, password, query or fragment",
    lambda v: is_address(v, "http", "https"),
    str.strip,
    secret=True,  # it may hold a password by mistake
)
_function: Kind[Any] = Kind(
    "a function that is not a coroutine function",
    lambda v: callable(v) and not iscoroutinefunction(v),
)
_ssl_context: Kind[Any] = Kind("an ssl.SSLContext", lambda v: isinstance(v, SSLContext))


@frozen(kw_only=True)
class Settings:
    """
    The settings of an exporter, checked.
    """

    api_key: Secret | None = field(default=None, converter=hidden, validator=optional(_api_key))
    base_url: str = field(default=DATA_PLANE, validator=_base_url)
    dialect: str = field(default="legacy", validator=choice(*DIALECTS))
    project: str | None = field(default=None, validator=optional(text()))
    source: str | None = field(default=None, validator=optional(text()))
    queue: QueueLimits = Factory(QueueLimits)
    batch: BatchLimits = Factory(BatchLimits)
    retry: RetryPolicy = Factory(RetryPolicy)
    max_in_flight: int = field(default=16, validator=whole(1))
    request_timeout: float = field(default=10.0, validator=seconds())
    close_timeout: float = field(default=5.0, validator=seconds(zero=True))
    compression: Literal["gzip"] | None = field(default=None, validator=optional(choice("gzip")))
    ssl_context: SSLContext | None = field(
        default=None, repr=False, validator=optional(_ssl_context)
    )
    before_send: BeforeSend | None = field(default=None, repr=False, validator=optional(_function))
    hide_inputs: bool = field(default=False, validator=flag())
    hide_outputs: bool = field(default=False, validator=flag())
    sample_rate: float = field(default=1.0, validator=share())
    on_outcome: Callable[[Settlement], None] | None = field(
        default=None, repr=False, validator=optional(_function)
    )
    on_ambiguous: Literal["reject", "resend"] = field(
        default="reject", validator=choice("reject", "resend")
    )
    spool: Spool | None = None
    jetstream: JetStream | None = None
    also: str | None = field(default=None, validator=optional(_base_url))
    disabled: bool = field(default=False, validator=flag())

    def __attrs_post_init__(self) -> None:
        if self.jetstream is None:
            return
        if self.compression is not None:
            raise ConfigError(
                "compression is for HTTP, and events go to a stream: leave it out "
                "(HH_EXPORTER_COMPRESSION)"
            )
        if self.ssl_context is not None and not self.needs_trust:
            raise ConfigError(
                "ssl_context is for HTTP, and events go to a stream: give JetStream its ssl_context"
            )

    @property
    def address(self) -> str:
        """
        Where events go: the server, or the servers of the stream.
        """
        return self.base_url if self.jetstream is None else self.jetstream.address

    @property
    def place(self) -> str:
        """
        What of `address` tells whose events are on disk; of a stream its name, not its servers.
        """
        return self.base_url if self.jetstream is None else self.jetstream.place

    @property
    def sealing_key(self) -> Secret | None:
        """
        The key that tells whose events are on disk; a stream has none.
        """
        return self.api_key if self.jetstream is None else None

    @property
    def is_loopback(self) -> bool:
        """
        Whether the server is on this machine; it needs no key.
        """
        return is_loopback(urlsplit(self.base_url).hostname or "")

    @property
    def uses_tls(self) -> bool:
        return urlsplit(self.base_url).scheme == "https"

    @property
    def copies_to(self) -> str | None:
        """
        The address that gets a copy of each event; None if there is none but `base_url`.
        """
        if self.also is None:
            return None
        is_same = self.jetstream is None and server_of(self.also) == server_of(self.base_url)
        return None if is_same else self.also

    @property
    def needs_trust(self) -> bool:
        """
        Whether anything is sent by HTTPS.
        """
        is_sent = self.jetstream is None and self.uses_tls and not self.disabled_reason
        return is_sent or urlsplit(self.copies_to or "").scheme == "https"

    @property
    def revealed_key(self) -> str | None:
        """
        The key itself: not for what is kept.
        """
        return None if self.api_key is None else self.api_key.reveal()

    @property
    def disabled_reason(self) -> str:
        """
        Why nothing can be sent; empty if events can be.
        """
        if self.disabled:
            return "the exporter is disabled"
        if self.jetstream is None and self.api_key is None and not self.is_loopback:
            return "there is no API key; give api_key or set HH_API_KEY"
        return ""

    @property
    def exposes_key(self) -> bool:
        """
        Whether the key would cross a network in the clear.
        """
        is_sent = self.jetstream is None and self.api_key is not None
        return is_sent and not self.uses_tls and not self.is_loopback

    @property
    def exposes_password(self) -> bool:
        """
        Whether the password of a stream would cross a network in the clear.
        """
        stream = self.jetstream
        if stream is None or stream.password is None or stream.ssl_context is not None:
            return False
        return any(not tls and not is_loopback(host) for host, _, tls in stream.endpoints)

    def warn(self) -> None:
        """
        Log settings that are allowed but probably not intended.
        """
        if self.disabled_reason and not self.disabled:
            log.warning(
                "hh_exporter: no event is sent: %s, or pass disabled=True", self.disabled_reason
            )
        if self.exposes_key:
            log.warning(
                "hh_exporter: %s is plain http: the API key crosses the network unencrypted",
                self.base_url,
            )
        if self.exposes_password:
            log.warning(
                "hh_exporter: %s is plain text, unless the server demands TLS: "
                "the password crosses the network unencrypted",
                self.address,
            )
        if self.jetstream is None and (problem := why_unable(self.revealed_key)):
            log.warning("hh_exporter: api_key is %s", problem)


_GROUPS: dict[str, type[Any]] = {"queue": QueueLimits, "batch": BatchLimits, "retry": RetryPolicy}


@frozen
class _Place:
    """
    A group that is there if one field of it is given, which stands for it.
    """

    group: type[Any]
    name: str
    forms: tuple[type[Any], ...]
    """What the argument may be, instead of the group."""
    shape: str


_PLACES = {
    "spool": _Place(Spool, "directory", (str, os.PathLike), "a directory"),
    "jetstream": _Place(JetStream, "servers", (str, Sequence), "addresses of its servers"),
}


def read_settings(
    given: dict[str, Any], environ: Mapping[str, str], *, by_http: bool = False
) -> Settings:
    """
    Combine arguments, environment and defaults.

    Args:
        given: Arguments by parameter; None or a blank text means not given. Emptied
            where it raises.
        environ: The environment variables.
        by_http: Whether they are of what speaks to the API itself, whatever stream the
            environment names.

    Raises:
        ConfigError: A value is out of its range; the text names the argument
            or the variable, and what it may be.
    """
    try:
        return _read_settings(given, environ, by_http=by_http)
    except ConfigError as exc:
        problem = str(exc)
    # Anew, and nothing in this frame: error reporters keep locals, and those hold the key.
    given.clear()
    del environ
    raise ConfigError(problem)


def _read_settings(
    given: Mapping[str, Any], environ: Mapping[str, str], *, by_http: bool
) -> Settings:
    chosen: dict[str, Any] = {
        name: value.strip() if isinstance(value, str) else value
        for name, value in given.items()
        if not is_unset(value)
    }
    for name, group in _GROUPS.items():
        if name not in chosen:
            chosen[name] = group(**read_fields(group, f"{_PREFIX}_{name}", environ))
        elif not isinstance(chosen[name], group):
            raise ConfigError(f"{name} must be a {group.__name__}")
    # An argument comes first, so an address that is one outranks a stream of the environment.
    by_http = by_http or ("base_url" in chosen and "jetstream" not in chosen)
    for name in _PLACES.keys() - ({"jetstream"} if by_http else set()):
        if (found := _find_place(name, chosen.get(name), environ)) is not None:
            chosen[name] = found
    settings = Settings(**chosen, **read_fields(Settings, _PREFIX, environ, given=chosen))
    settings = attrs.evolve(
        settings,
        base_url=settings.base_url.rstrip("/"),
        also=settings.also and settings.also.rstrip("/"),
    )
    if settings.ssl_context is None and settings.needs_trust:
        return attrs.evolve(settings, ssl_context=find_trust(environ))
    return settings


def _find_place(name: str, given: Any, environ: Mapping[str, str]) -> Any:
    """
    Read the group *name*; *given* may be the group, or only what stands for it.
    """
    place = _PLACES[name]
    group = place.group
    if isinstance(given, group):
        return given
    if given is not None and not isinstance(given, place.forms):
        raise ConfigError(f"{name} must be a {group.__name__} or {place.shape}")
    fields = read_fields(group, f"{_PREFIX}_{name}", environ)
    if given is not None:
        fields[place.name] = given
    return group(**fields) if place.name in fields else None


def variables_of(owner: type[Any], prefix: str = _PREFIX) -> dict[str, tuple[str, ...]]:
    """
    List the environment variables of each scalar field of *owner*, the first one first.
    """
    vendor = _VENDOR if owner is Settings else {}
    return {name: (f"{prefix}_{name}".upper(), *vendor.get(name, ())) for name in _kinds_of(owner)}


def find_variable(variables: Iterable[str], environ: Mapping[str, str]) -> str | None:
    """
    Find the first of *variables* that is set: the one that counts.
    """
    return next((name for name in variables if not is_unset(environ.get(name))), None)


def is_unset(value: object) -> bool:
    """
    Whether an argument or a variable counts as not given: None, or blank.
    """
    return value is None or (isinstance(value, str) and not value.strip())


def read_fields(
    owner: type[Any], prefix: str, environ: Mapping[str, str], given: Container[str] = ()
) -> dict[str, Any]:
    """
    Read those fields of *owner* that are not *given*, of variables that begin with *prefix*.
    """
    variables = variables_of(owner, prefix)
    found = {}
    for name, kind in _kinds_of(owner).items():
        variable = find_variable(variables[name], environ)
        if variable is not None and name not in given:
            found[name] = kind.read(variable, environ[variable])
    return found


def _kinds_of(owner: type[Any]) -> dict[str, Kind[Any]]:
    """
    Find the kind of each field of *owner* that can be given as text.
    """
    validators = {a.name: a.validator for a in attrs.fields(owner)}
    kinds = {name: getattr(v, "validator", v) for name, v in validators.items()}  # in optional()
    return {n: kind for n, kind in kinds.items() if isinstance(kind, Kind) and kind.parse}
