"""
Options that say where the stream of a fleet is and how its parts are called, and a connection.

The password is never an option: other users of a machine can read a command line.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import click

from hh_exporter._cli._errors import CallError, UndoneError
from hh_exporter._clock import Clock, Deadline
from hh_exporter._dialects.registry import DIALECTS
from hh_exporter._environment import Settings, is_unset, read_fields
from hh_exporter._fleet.plan import Names
from hh_exporter._settings.jetstream import JetStream
from hh_exporter._transport.access import check_access
from hh_exporter.exceptions import ConfigError

if TYPE_CHECKING:
    from hh_exporter._transport.nats import Connection

__all__ = [
    "access_options",
    "connected",
    "name_options",
    "read_access",
    "read_names",
]

F = TypeVar("F", bound=Callable[..., Any])

_PREFIX = "HH_EXPORTER_JETSTREAM"
_PASSWORD = f"{_PREFIX}_PASSWORD"
_ACCESS = ("servers", "subject", "user", "credentials")
_NAMES = ("stream", "consumer", "dead_stream")
_PATIENCE = 10.0
"""Seconds to connect."""

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


def access_options(command: F) -> F:
    """
    Add the options that `read_access` reads.
    """
    return _add(
        command,
        click.option(
            "--servers",
            metavar="ADDRESSES",
            help=f"nats:// or tls:// addresses, separated by commas; default {_PREFIX}_SERVERS.",
        ),
        click.option(
            "--subject",
            help=f"Where events are published; default {_PREFIX}_SUBJECT, else hh_exporter.events.",
        ),
        click.option(
            "--user",
            help=f"Name of the user, with the password in {_PASSWORD}; default {_PREFIX}_USER.",
        ),
        click.option(
            "--credentials",
            metavar="FILE",
            type=_FILE,
            help=f"File of credentials, instead of a user; default {_PREFIX}_CREDENTIALS.",
        ),
        click.option(
            "--ca",
            metavar="FILE",
            type=_FILE,
            help="Certificates (PEM) of the authorities to trust; default SSL_CERT_FILE.",
        ),
        click.option(
            "--cert",
            metavar="FILE",
            type=_FILE,
            help="Certificate and key (PEM) to show to servers that ask for one.",
        ),
    )


def name_options(command: F) -> F:
    """
    Add the options that `read_names` reads, beside `--subject`.
    """
    return _add(
        command,
        click.option(
            "--dialect",
            type=click.Choice(tuple(DIALECTS)),
            help="Which events; default HH_EXPORTER_DIALECT, else legacy.",
        ),
        *(
            click.option(
                f"--{name.replace('_', '-')}",
                metavar="NAME",
                default=getattr(Names(), name),
                show_default=True,
                help=text,
            )
            for name, text in (
                ("stream", "Stream of events."),
                ("consumer", "Consumer of that stream, which relays share."),
                ("dead_stream", "Stream of dead letters."),
            )
        ),
    )


def _add(command: F, *options: Callable[[F], F]) -> F:
    for option in reversed(options):
        command = option(command)
    return command


def read_access(given: Mapping[str, Any], environ: Mapping[str, str]) -> JetStream:
    """
    Read where the stream is: options first, then the environment.

    Raises:
        CallError: A value can't be used, there are no servers, or nats-py is missing.
    """
    chosen = {name: given[name] for name in _ACCESS if not is_unset(given.get(name))}
    ignored = set(chosen)
    if "credentials" in chosen and "user" not in chosen:
        ignored |= {"user", "password"}  # those of the environment are of another way in
    elif "user" in chosen:
        ignored.add("credentials")
    try:
        fields = read_fields(JetStream, _PREFIX, environ, ignored) | chosen
        if "servers" not in fields:
            raise CallError(f"no servers: give --servers, or set {_PREFIX}_SERVERS")
        if "user" in chosen and "password" not in fields:
            raise CallError(f"--user needs the password in {_PASSWORD}")
        access = JetStream(**fields, ssl_context=_make_context(given.get("ca"), given.get("cert")))
        check_access(access)
    except ConfigError as exc:
        raise CallError(str(exc)) from None
    return access


def _make_context(ca: Path | None, cert: Path | None) -> ssl.SSLContext | None:
    if ca is None and cert is None:
        return None
    path = ca
    try:
        context = ssl.create_default_context(cafile=ca)
        if cert is not None:
            path = cert
            context.load_cert_chain(cert)
    except (ssl.SSLError, OSError) as exc:
        what = "certificate" if path is ca else "certificate with its key"
        name = click.format_filename(str(path))
        raise CallError(f"{name} holds no {what} that can be read ({exc.strerror})") from None
    return context


def read_names(given: Mapping[str, Any], access: JetStream, environ: Mapping[str, str]) -> Names:
    """
    Read how the parts of the fleet are called.

    Raises:
        CallError: A name can't be used.
    """
    others = attrs.fields_dict(Settings).keys() - {"dialect"}
    names = {name: given[name] for name in _NAMES if not is_unset(given.get(name))}
    try:
        fields = read_fields(Settings, "HH_EXPORTER", environ, others)
        dialect = given.get("dialect") or fields.get("dialect") or Names().dialect
        return Names(subject=access.subject, dialect=dialect, **names)
    except ConfigError as exc:
        raise CallError(str(exc)) from None


@asynccontextmanager
async def connected(access: JetStream, role: str, clock: Clock) -> AsyncIterator[Connection]:
    """
    Keep a connection open in the block, as a user of that *role*.

    Raises:
        UndoneError: No server took us, or JetStream refused what the block asked of it.
    """
    # Here, so that commands without a stream need no nats-py.
    from hh_exporter._fleet.api import ApiError
    from hh_exporter._transport.cluster import Connector
    from hh_exporter._transport.nats import Lost
    from hh_exporter._transport.refusals import NoConnection

    connector = Connector(access=access, role=role, clock=clock)
    connector.start()
    try:
        connection = await connector.open(Deadline.after(clock, _PATIENCE))
        try:
            yield connection
        finally:
            await connection.close()
    except NoConnection as exc:
        raise UndoneError(f"{access.address} can't be used: {exc.problem}") from None
    except ApiError as exc:
        raise UndoneError(f"{access.address}: {exc.problem}") from None
    except Lost:
        raise UndoneError(f"{access.address}: {connection.fault or 'connection lost'}") from None
    finally:
        connector.close()
