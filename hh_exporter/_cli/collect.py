"""
`hh-exporter collect`: a server of model events on this machine, until a signal.
"""

from __future__ import annotations

import asyncio
from ipaddress import ip_address

import click

from hh_exporter._cli._errors import CallError
from hh_exporter._cli._report import Report
from hh_exporter._cli._waiting import caught_signals
from hh_exporter._collector import Collector
from hh_exporter.exceptions import ExporterError

__all__ = ["collect", "collect_command"]


@click.command("collect")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    callback=lambda _, __, host: _check_host(host),
    help="Address of this machine to listen on; loopback only.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8765,
    show_default=True,
    help="Port to listen on; 0 for any that is free.",
)
@click.option(
    "--db",
    metavar="FILE",
    type=click.Path(),
    help="Keep the events in this SQLite file; without it they end with the command.",
)
def collect_command(host: str, port: int, db: str | None) -> None:
    """
    Collect model events on this machine, until Ctrl-C.

    Takes what the HoneyHive API takes, and asks for no key. To send to it, give
    its address as `--url` or HH_API_URL.
    """
    asyncio.run(collect(Collector(host=host, port=port, db=db), Report()))


async def collect(collector: Collector, report: Report) -> None:
    """
    Run *collector* until SIGINT or SIGTERM.

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
                f"read the events at {collector.url}/api/events.jsonl; Ctrl-C ends"
            )
            await signals.first.wait()
            count = await collector.count()
        finally:
            await collector.aclose()
    verb, noun = ("was", "1 event") if count == 1 else ("were", f"{count:,} events")
    where = f" in {click.format_filename(collector.db)}" if collector.db else ""
    report.say(f"{noun} {verb} collected{where}")


def _check_host(host: str) -> str:
    try:
        is_loopback = ip_address(host).is_loopback
    except ValueError:
        is_loopback = host == "localhost"
    if not is_loopback:
        raise click.BadParameter(
            f"{host} is no loopback address. The collector asks for no key, so it serves "
            "this machine alone: 127.0.0.1, ::1 or localhost."
        )
    return host
