"""
`hh-exporter check`: whether an exporter with these settings could deliver.

It sends an empty batch, which creates no event. The key is sent to the host that was
given, and to another one only if both are the vendor's own; never to the one for copies.
"""

from __future__ import annotations

import asyncio
import os
import re
import shlex
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import attrs
import click
import orjson
from attrs import frozen

from hh_exporter._cli._errors import CallError
from hh_exporter._cli._report import Report
from hh_exporter._cli._setup import (
    check_option,
    dialect_option,
    read_usable_settings,
    url_option,
)
from hh_exporter._clock import Clock, SystemClock
from hh_exporter._delivery.limiter import Limiter
from hh_exporter._dialects.dialect import Answer
from hh_exporter._dialects.registry import DIALECTS
from hh_exporter._dialects.vendor import HOSTS, describe_key, read_error, why_unable
from hh_exporter._environment import Settings, find_variable, is_unset, variables_of
from hh_exporter._outcomes import Rest, Verdict
from hh_exporter._settings.jetstream import JetStream
from hh_exporter._settings.kinds import seconds
from hh_exporter._transport.access import check_access
from hh_exporter._transport.http import HttpTransport
from hh_exporter._values.reading import read_json
from hh_exporter.events import new_id
from hh_exporter.exceptions import ConfigError

__all__ = ["Finding", "Used", "check", "check_command", "check_copies", "check_stream"]

_OPTIONS = {"base_url": "--url", "dialect": "--dialect", "request_timeout": "--timeout"}
_DEFAULT = "default"
_QUOTED = 200
"""How many characters of the server's words are shown."""


@click.command("check")
@url_option
@dialect_option
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=float,
    callback=check_option(seconds()),
    help="Time limit for each response; default HH_EXPORTER_REQUEST_TIMEOUT, else 10.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON instead.")
def check_command(
    url: str | None, dialect: str | None, timeout: float | None, as_json: bool
) -> None:
    """
    Check address, dialect and key, and print what to set.

    Sends an empty batch, so no event is created. If that fails, the other
    dialect is tried, and HoneyHive's other host if the address is one of its
    two; what works is printed as a line to set. The key is taken from HH_API_KEY;
    a server on this machine needs none. If HH_EXPORTER_ALSO is set, the address
    for copies is tried as well, without the key; the exit status is not about it.

    If HH_EXPORTER_JETSTREAM_SERVERS is set and --url is not, servers, user and
    subject of the stream are checked instead; nothing is stored.

    Exits with 0 if the settings work, with 1 if not, even if others do, and with
    2 for a wrong call.
    """
    given = {"base_url": url, "dialect": dialect, "request_timeout": timeout}
    settings = read_usable_settings(given, os.environ)
    used = Used.of(settings, given, os.environ)
    if settings.exposes_key:
        text = "warning: base_url is plain http: the API key crosses the network unencrypted"
        Report().say(text)

    if settings.exposes_password:
        text = (
            "warning: the password crosses the network unencrypted, unless the server demands TLS"
        )
        Report().say(text)

    if settings.jetstream is None and (problem := why_unable(settings.revealed_key)):
        Report().say(f"warning: the key is {problem}")

    def say(text: object) -> None:
        if not as_json:
            click.echo(text)

    for row in used.rows():
        say(row)
    say("")
    if settings.jetstream is None:
        findings = asyncio.run(check(settings, HOSTS, SystemClock(), say))
    else:
        findings = [asyncio.run(check_stream(settings, SystemClock()))]
        say(findings[0])
    copies = asyncio.run(check_copies(settings, SystemClock()))
    if copies is not None:
        say(f"\nCopies (HH_EXPORTER_ALSO):\n{copies}")
    exports = used.exports(findings[-1], os.environ)
    if as_json:
        click.echo(orjson.dumps(_summarize(used, findings, copies, exports)).decode())
    elif exports:
        say("\nTo use what works:\n")
        for variable, value in exports.items():
            say(f"export {variable}={shlex.quote(value)}")
    raise SystemExit(0 if findings[0].works else 1)


@frozen(kw_only=True)
class Finding:
    """
    What came of one attempt.
    """

    base_url: str
    """The address, or the servers of a stream."""
    dialect: str
    works: bool
    """As far as can be told without an event."""
    status: int | None
    """The HTTP status, None without an answer."""
    said: str

    def __str__(self) -> str:
        verb = "works" if self.works else "fails"
        return f"{verb}: {self.dialect} at {self.base_url}: {self.said}"


@frozen(kw_only=True)
class Used:
    """
    The settings that were tried first, and where each of them came from.
    """

    values: Mapping[str, str]
    """As they may be shown, by parameter; without the key itself."""
    origins: Mapping[str, str]
    """An option, a variable, or "default"."""

    @classmethod
    def of(cls, settings: Settings, given: Mapping[str, Any], environ: Mapping[str, str]) -> Used:
        variables = variables_of(Settings)
        values = {"base_url": settings.base_url, "dialect": settings.dialect}
        if (stream := settings.jetstream) is None:
            values["api_key"] = describe_key(settings.revealed_key)
        else:
            own = {name: getattr(stream, name) for name in ("subject", "user", "credentials")}
            own = {"servers": stream.address, **own}
            values = {f"jetstream.{name}": str(value or "none") for name, value in own.items()}
            values["dialect"] = settings.dialect
            found = variables_of(JetStream, "HH_EXPORTER_JETSTREAM")
            variables |= {f"jetstream.{name}": names for name, names in found.items()}
        values |= {
            "request_timeout": f"{settings.request_timeout:g} s",
            "max_in_flight": f"{Limiter(settings.max_in_flight, 1.0).first} at first, "
            f"{settings.max_in_flight} at most",
        }
        origins = {
            name: _OPTIONS[name]
            if not is_unset(given.get(name))
            else find_variable(variables[name], environ) or _DEFAULT
            for name in values
        }
        return cls(values=values, origins=origins)

    def rows(self) -> Iterator[str]:
        """
        Make a line of each setting.
        """
        width = max(map(len, self.values))
        for name, value in self.values.items():
            yield f"{name:<{width}}  {value} ({self.origins[name]})"

    def exports(self, finding: Finding, environ: Mapping[str, str]) -> dict[str, str]:
        """
        List what to set for an exporter to do as *finding* did, by the variable that counts.
        """
        if not finding.works or "base_url" not in self.values:
            return {}
        fallbacks = {"base_url": "HH_API_URL", "dialect": "HH_EXPORTER_DIALECT"}
        found = {"base_url": finding.base_url, "dialect": finding.dialect}
        variables = variables_of(Settings)
        return {
            find_variable(variables[name], environ) or fallbacks[name]: value
            for name, value in found.items()
            if value != self.values[name] or self.origins[name] == _OPTIONS[name]
        }


async def check(
    settings: Settings,
    hosts: Collection[str],
    clock: Clock,
    note: Callable[[Finding], None] = lambda _: None,
) -> list[Finding]:
    """
    Try *settings*, and what they might have been until that works.

    Args:
        hosts: Addresses that belong together: only if the given one is among
            them, the others are tried, and get the key.
        note: Called with each finding as it comes.

    Returns:
        The finding of *settings* first. If the last one does not work, none does.
    """
    findings: list[Finding] = []
    for base_url in (settings.base_url, *_others(settings.base_url.lower(), hosts)):
        for dialect in (settings.dialect, *_others(settings.dialect, DIALECTS)):
            finding = await _attempt(
                attrs.evolve(settings, base_url=base_url, dialect=dialect), clock
            )
            findings.append(finding)
            note(finding)
            if finding.works:
                return findings
            if finding.status is None:
                break  # whichever dialect: nobody heard it
    return findings


async def check_stream(settings: Settings, clock: Clock) -> Finding:
    """
    Try the stream of *settings*.

    Raises:
        CallError: What it needs is not installed, or can't be read.
    """
    assert settings.jetstream is not None  # noqa: S101 - the caller looked
    try:
        check_access(settings.jetstream)
    except ConfigError as exc:
        raise CallError(str(exc)) from None
    from hh_exporter._cli._publishing import try_to_publish

    works, said = await try_to_publish(
        settings.jetstream, settings.dialect, settings.request_timeout, clock
    )
    return Finding(
        base_url=settings.address, dialect=settings.dialect, works=works, status=None, said=said
    )


async def check_copies(settings: Settings, clock: Clock) -> Finding | None:
    """
    Try where copies of events go, as they do: without the key; None if there is no such place.
    """
    if settings.copies_to is None:
        return None
    return await _attempt(attrs.evolve(settings, base_url=settings.copies_to, api_key=None), clock)


async def _attempt(settings: Settings, clock: Clock) -> Finding:
    dialect = DIALECTS[settings.dialect]()
    async with HttpTransport(
        base_url=settings.base_url,
        api_key=settings.api_key,
        timeout=settings.request_timeout,
        clock=clock,
        ssl_context=settings.ssl_context,
    ) as transport:
        answer = await transport.send("POST", dialect.batch_path(), dialect.wrap(()))
    # Under an id that nobody sent: of no ids at all, each answer would say that all were created.
    verdict = dialect.read(answer, (new_id(),))
    works, said = _judge(answer, verdict, has_key=settings.api_key is not None)
    if not works:
        said += _quote(answer, settings.revealed_key)
    return Finding(
        base_url=settings.base_url,
        dialect=settings.dialect,
        works=works,
        status=answer.status,
        said=said,
    )


def _judge(answer: Answer, verdict: Verdict, *, has_key: bool) -> tuple[bool, str]:
    """
    Say whether events would be taken where *answer* came from, and why in plain words.
    """
    http = verdict.reason
    match answer.status:
        case None:
            return False, answer.failure
        case 401 | 403:
            problem = "the key is refused" if has_key else "it asks for a key"
            return False, f"{problem} ({http})"
        case 404 if has_key and read_error(answer.body):
            return False, (
                f"the key is refused ({http}): invalid, revoked, expired, or without permission; "
                "else wrong address or dialect"
            )
        case 404 | 405 | 410:
            return False, f"nothing takes events there ({http}): wrong address or dialect"
        case 407:
            return False, f"a proxy asks for a user and a password ({http})"
    match verdict.rest:
        case Rest.RETRY:
            return False, f"it was reached, but fails now ({http}): try again later"
        case _ if answer.is_page:
            return False, f"a web page answers there ({http}): wrong address"
        case Rest.NOTHING if answer.cut_short:
            return False, f"its answer was cut short ({http}): try again later"
        case Rest.NOTHING if not _is_object(answer.body):
            return False, f"what answers there sends no JSON ({http}): wrong address"
        case Rest.NOTHING:
            right = "key, address and dialect are" if has_key else "address and dialect are"
            return True, f"the server takes events: {right} right"
        case Rest.INVALID | Rest.FAILED | Rest.AMBIGUOUS:
            return True, (
                f"as far as can be told: it was reached and did not refuse the key, but takes no "
                f"empty batch ({http}), and nothing else was sent"
            )
    if answer.location:
        target = _name_host(answer.location)
        return False, f"it redirects to {target} ({http}), and the key follows nowhere"
    return False, f"it refuses us ({http})" + (f": {verdict.hint}" if verdict.hint else "")


def _quote(answer: Answer, key: str | None) -> str:
    """
    Quote what the API says of its own error: printable, short, and without the key.
    """
    error = read_error(answer.body)
    if error is None or not error.message:
        return ""
    message = error.message.replace(key, "…") if key else error.message
    text = "".join(c if c.isprintable() else " " for c in message[:_QUOTED])
    return f'; the server says "{text}"'


def _is_object(body: bytes) -> bool:
    try:
        return isinstance(read_json(body), dict)
    except orjson.JSONDecodeError:
        return False


def _name_host(location: str) -> str:
    """
    Name the host of an address that the server sent, and nothing else of it.
    """
    try:
        url = urlsplit(location)
        host, port = url.hostname or "", url.port
    except ValueError:
        host = ""
    if not host:
        return "another path there"
    if not re.fullmatch(r"[a-z0-9.:-]+", host):  # a terminal obeys what it is shown
        return "another host"
    name = f"[{host}]" if ":" in host else host
    return f"{url.scheme}://{name}".removeprefix("://") + (f":{port}" if port else "")


def _others(one: str, many: Collection[str]) -> list[str]:
    """
    List the others of those among which *one* is; none if it is not.
    """
    return [other for other in many if other != one] if one in many else []


def _summarize(
    used: Used, findings: list[Finding], copies: Finding | None, exports: Mapping[str, str]
) -> dict[str, object]:
    return {
        "works": findings[0].works,
        "used": {
            name: {"value": value, "origin": used.origins[name]}
            for name, value in used.values.items()
        },
        "findings": [attrs.asdict(finding) for finding in findings],
        "copies": None if copies is None else attrs.asdict(copies),
        "set": exports,
    }
