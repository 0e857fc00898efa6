"""
Where dead letters are: the spool of a host, or the stream of a fleet.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import wraps
from pathlib import Path
from typing import Any

import click

from hh_exporter._cli._archived import Fleet
from hh_exporter._cli._errors import CallError
from hh_exporter._cli._report import Report
from hh_exporter._cli._spools import Spool, find_directory
from hh_exporter._cli._stream import read_access, read_names
from hh_exporter._environment import find_variable, is_unset

__all__ = ["place_options"]

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_SPOOL, _SERVERS = "HH_EXPORTER_SPOOL_DIRECTORY", "HH_EXPORTER_JETSTREAM_SERVERS"

_OPTIONS = (
    click.option("--spool", metavar="DIR", help=f"Directory of a spool; default {_SPOOL}."),
    click.option(
        "--jetstream",
        metavar="SERVERS",
        help=f"Servers of a fleet, instead of a spool; default {_SERVERS}, if no spool is "
        "named. The user and the password are taken from HH_EXPORTER_JETSTREAM_USER and "
        "HH_EXPORTER_JETSTREAM_PASSWORD.",
    ),
    click.option(
        "--subject",
        help="With --jetstream: where events are published; default "
        "HH_EXPORTER_JETSTREAM_SUBJECT, else hh_exporter.events.",
    ),
    click.option(
        "--dead-stream",
        metavar="NAME",
        help="With --jetstream: stream of dead letters; default HH_DEAD.",
    ),
    click.option(
        "--credentials",
        metavar="FILE",
        type=_FILE,
        help="With --jetstream: file of credentials, instead of a user; default "
        "HH_EXPORTER_JETSTREAM_CREDENTIALS.",
    ),
    click.option(
        "--ca",
        metavar="FILE",
        type=_FILE,
        help="With --jetstream: certificates (PEM) of the authorities to trust; default "
        "SSL_CERT_FILE.",
    ),
    click.option(
        "--cert",
        metavar="FILE",
        type=_FILE,
        help="With --jetstream: certificate and key (PEM) to show to servers that ask.",
    ),
)


def place_options(command: Any) -> Any:
    """
    Add the options that say where dead letters are, as arguments `place` and `report`.
    """

    @wraps(command)
    def call(*, spool: str | None, jetstream: str | None, **given: Any) -> Any:
        names = ("subject", "dead_stream", "credentials", "ca", "cert")
        more = {name: given.pop(name) for name in names}
        report = Report()
        place = _find_place(spool, jetstream, more, report)
        return command(place=place, report=report, **given)

    for option in reversed(_OPTIONS):
        call = option(call)
    return call


def _find_place(
    directory: str | None, servers: str | None, more: Mapping[str, Any], report: Report
) -> Spool | Fleet:
    """
    Find where the dead letters are: options first, then the environment.

    Raises:
        CallError: Nothing names a place, or two are named, or it can't be used.
    """
    if not (is_unset(directory) or is_unset(servers)):
        raise CallError("give --spool or --jetstream, and not both")
    is_named = not is_unset(directory) or find_variable((_SPOOL,), os.environ)
    if is_unset(servers) and is_named:
        if given := next((name for name, value in more.items() if not is_unset(value)), None):
            raise CallError(f"--{given.replace('_', '-')} is for a fleet: give --jetstream, too")
        return Spool(find_directory(directory), report)
    if is_unset(servers) and not find_variable((_SERVERS,), os.environ):
        raise CallError(f"no dead letters: give --spool or --jetstream, or set {_SPOOL}")
    access = read_access({**more, "servers": servers}, os.environ)
    return Fleet(access, read_names(more, access, os.environ))
