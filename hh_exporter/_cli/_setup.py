"""
Options and settings that the sending commands share.

The key is never an option: other users of a machine can read a command line.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs
import click

from hh_exporter._cli._errors import CallError
from hh_exporter._dialects.registry import DIALECTS
from hh_exporter._environment import Settings, read_settings
from hh_exporter._exporter import Exporter
from hh_exporter._outcomes import Settlement
from hh_exporter._settings.kinds import Kind
from hh_exporter.exceptions import ConfigError

__all__ = [
    "check_option",
    "dialect_option",
    "make_exporter",
    "read_usable_settings",
    "url_option",
]

url_option = click.option(
    "--url", help="Address of the server; default HH_API_URL, else HoneyHive's own."
)
dialect_option = click.option(
    "--dialect",
    type=click.Choice(tuple(DIALECTS)),
    help="How to speak to it; default HH_EXPORTER_DIALECT, else legacy.",
)


def check_option(kind: Kind[Any]) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """
    Make a callback that refuses a value unless it is None or of *kind*.
    """

    def check(_: click.Context, __: click.Parameter, value: Any) -> Any:
        try:
            if value is not None:
                kind.check("it", value)
        except ConfigError as exc:
            raise click.BadParameter(str(exc)) from None
        return value

    return check


def read_usable_settings(
    given: Mapping[str, Any], environ: Mapping[str, str], *, by_http: bool = False
) -> Settings:
    """
    Read the settings of an exporter that can send; for *by_http* see `read_settings`.

    Raises:
        CallError: One can't be used, or the key is missing.
    """
    try:
        settings = read_settings(dict(given), environ, by_http=by_http)
    except ConfigError as exc:
        raise CallError(str(exc)) from None
    if settings.disabled:
        raise CallError("HH_EXPORTER_DISABLED is set, so nothing would be sent: unset it")
    if settings.disabled_reason:
        raise CallError(
            f"there is no API key for {settings.base_url}: set HH_API_KEY "
            "(a server on this machine needs none)"
        )
    return settings


def make_exporter(settings: Settings, on_outcome: Callable[[Settlement], None]) -> Exporter:
    """
    Make an exporter with *settings*, all of them as given, that reports outcomes to *on_outcome*.
    """
    given = {a.name: getattr(settings, a.name) for a in attrs.fields(Settings)}
    return Exporter(**given | {"on_outcome": on_outcome})
