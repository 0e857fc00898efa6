"""
`hh-exporter collect`: a local HoneyHive-compatible server, until a signal.

The key is never an option: other users of a machine can read a command line.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from ipaddress import ip_address

import click

from hh_exporter._cli._browser import browse, show_page
from hh_exporter._cli._errors import CallError
from hh_exporter._cli._quantities import read_duration, read_rate, read_shares, read_size
from hh_exporter._cli._report import Report
from hh_exporter._cli._waiting import caught_signals
from hh_exporter._collector import Collector, Faults
from hh_exporter.exceptions import ConfigError, ExporterError

__all__ = ["collect", "collect_command"]

_KEY = "HH_COLLECTOR_API_KEY"


@click.command("collect")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help=f"Address to listen on; {_KEY} is required beyond loopback.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8765,
    show_default=True,
    help="Port to listen on; 0 for any free port.",
)
@click.option(
    "--db",
    metavar="FILE",
    type=click.Path(),
    help="Store the events in this SQLite file; default: a temporary one.",
)
@click.option(
    "--max-events",
    type=click.IntRange(1),
    default=100_000,
    show_default=True,
    help="Keep only this many of the latest events.",
)
@click.option(
    "--max-age",
    metavar="TIME",
    callback=read_duration,
    help="Delete events older than this, such as 12h or 7d.",
)
@click.option(
    "--max-bytes",
    metavar="SIZE",
    default="1GB",
    show_default=True,
    callback=read_size,
    help="Keep only as many of them as take this much of the file, such as 500MB.",
)
@click.option("--open", "opens", is_flag=True, help="Open the page in the browser.")
@click.option(
    "--latency",
    metavar="TIME",
    default="0s",
    callback=read_duration,
    help="Delay each response, such as by 30ms.",
)
@click.option(
    "--fault",
    "faults",
    metavar="KIND:PERCENT",
    multiple=True,
    callback=read_shares,
    help="Fail a share of the requests, such as 503:5%: with a status from 400 to 599, partial "
    "(every second event of a batch is refused), reset, or hang (no response). Repeatable.",
)
@click.option(
    "--rate-limit",
    metavar="RATE",
    callback=read_rate,
    help="Answer 429 with Retry-After above this rate, such as 100/s.",
)
def collect_command(
    *,
    host: str,
    port: int,
    db: str | None,
    max_events: int,
    max_age: float | None,
    max_bytes: int,
    opens: bool,
    latency: float,
    faults: Mapping[str, float],
    rate_limit: float | None,
) -> None:
    """
    Run a local collector of events, until Ctrl-C.

    It accepts what the HoneyHive API accepts, and shows it on a page. It requires
    no key unless HH_COLLECTOR_API_KEY is set. To send to it, set `--url` or
    HH_API_URL to its address.
    """
    api_key = os.environ.get(_KEY, "").strip() or None
    if api_key is None and not _is_loopback(host):
        raise click.BadParameter(
            f"{host} is not a loopback address, so others can reach it: set {_KEY} to the key "
            "that they need, or listen on 127.0.0.1, ::1 or localhost.",
            param_hint="'--host'",
        )
    try:
        injected = Faults(latency=latency, rate_limit=rate_limit, faults=faults)
    except ConfigError as exc:
        raise CallError(str(exc)) from None
    collector = Collector(
        db=db,
        host=host,
        port=port,
        api_key=api_key,
        max_events=max_events,
        max_age=max_age,
        max_bytes=max_bytes,
        faults=injected,
    )
    asyncio.run(collect(collector, Report(), browse if opens else None))


async def collect(
    collector: Collector, report: Report, show: Callable[[str], object] | None = None
) -> None:
    """
    Run *collector* until SIGINT or SIGTERM.

    Args:
        collector: Not started yet.
        report: Where it says what it had.
        show: Called with the page's address once it listens; may block.

    Raises:
        CallError: It can't listen, or not use its database.
    """
    with caught_signals() as signals:
        try:
            await collector.start()
        except ExporterError as exc:
            raise CallError(str(exc)) from None
        try:
            # In one piece: a script may read the first line and hang up.
            click.echo(
                f"collecting at {collector.url}\n"
                f"look at them at {collector.url}/\n"
                f"read them at {collector.url}/api/events.jsonl; Ctrl-C ends"
            )
            if show is not None:
                show_page(f"{collector.url}/", show)
            await signals.first.wait()
            await collector.stop()  # what it finishes counts, too
            count = await collector.count()
        finally:
            await collector.aclose()
    verb, noun = ("was", "1 event") if count == 1 else ("were", f"{count:,} events")
    where = f" in {click.format_filename(collector.db)}" if collector.db is not None else ""
    latest = "the latest " if count == collector.max_events else ""  # older ones made room
    report.say(f"{latest}{noun} {verb} collected{where}")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
