"""
`hh-exporter relay`: deliver what a stream has, or set up the streams of a fleet.

What is there already is compared, and never changed.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import attrs
import click
import orjson

from hh_exporter._cli._errors import CallError
from hh_exporter._cli._quantities import read_size
from hh_exporter._cli._relaying import relaying_options, run_relay
from hh_exporter._cli._report import Report, print_columns
from hh_exporter._cli._stream import (
    access_options,
    connected,
    name_options,
    read_access,
    read_names,
)
from hh_exporter._clock import Clock, Deadline, SystemClock
from hh_exporter._fleet.plan import Plan
from hh_exporter._settings.jetstream import JetStream

if TYPE_CHECKING:
    from hh_exporter._fleet.advice import Advice
    from hh_exporter._fleet.streams import Part

__all__ = ["relay_command", "set_up_streams"]

_DEAD_SHARE = 10
"""One part of so many is for dead letters, unless it is given."""
_PATIENCE = 30.0
"""Seconds: servers that have just started take some to elect who leads."""


@click.command("relay")
@click.option("--setup", is_flag=True, help="Create the streams and the consumer that are missing.")
@access_options
@name_options
@click.option(
    "--max-bytes",
    metavar="SIZE",
    callback=read_size,
    help="With --setup: what the stream of events may hold, such as 20GB. At most 70 % of the "
    "servers' max_file_store.",
)
@click.option(
    "--dead-max-bytes",
    metavar="SIZE",
    callback=read_size,
    help="With --setup: what the stream of dead letters may hold; default a tenth of --max-bytes.",
)
@click.option(
    "--replicas",
    type=click.Choice(("1", "3", "5")),
    help="With --setup: servers that keep each message; default 3, else 1 where there are fewer.",
)
@relaying_options
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print one line of JSON instead; without --setup, its numbers again and again.",
)
def relay_command(
    *,
    setup: bool,
    prefetch: int,
    metrics: tuple[str, int] | None,
    every: float,
    max_bytes: int | None,
    dead_max_bytes: int | None,
    replicas: str | None,
    as_json: bool,
    **given: Any,
) -> None:
    """
    Deliver events from a stream to the HoneyHive API, until Ctrl-C or SIGTERM.

    The key and the address of the API come from HH_API_KEY and HH_API_URL, all else
    about delivery from the variables of an exporter. Run it on as many machines as
    needed. At the end it gives back what it has not delivered within close_timeout;
    a second signal ends it at once.

    With --setup, creates the streams of events and of dead letters, and the
    consumer that relays of one dialect share, unless they are there. Never changes
    what is there: what differs from what would be created is named.

    Exits with 0 if all is as it should be, with 1 if something differs, is missing or
    could not be created, and with 2 for a wrong call.
    """
    access = read_access(given, os.environ)
    names = read_names(given, access, os.environ)
    if not setup:
        run_relay(
            access,
            names,
            os.environ,
            prefetch=prefetch,
            metrics=metrics,
            every=every,
            as_json=as_json,
        )
        return
    if max_bytes is None:
        raise CallError("--setup needs --max-bytes: how much may wait, such as 20GB")
    plan = Plan(
        max_bytes=max_bytes,
        dead_max_bytes=dead_max_bytes or max(1, max_bytes // _DEAD_SHARE),
        replicas=None if replicas is None else int(replicas),
        max_event_bytes=access.max_event_bytes,
        names=names,
    )
    parts, advice = asyncio.run(set_up_streams(access, plan, SystemClock()))
    if as_json:
        told = {"parts": parts, "warnings": advice}
        click.echo(orjson.dumps(told, default=attrs.asdict).decode())
    else:
        _show(parts, advice)
    is_right = all(part.fate != "differs" for part in parts)
    is_safe = not any(each.loses_events for each in advice)
    raise SystemExit(0 if is_right and is_safe else 1)


async def set_up_streams(
    access: JetStream, plan: Plan, clock: Clock
) -> tuple[list[Part], list[Advice]]:
    """
    Create what is missing of *plan*, and look at what there is then.

    Raises:
        UndoneError: It can't be done.
    """
    from hh_exporter._fleet.advice import compare
    from hh_exporter._fleet.streams import look, set_up

    async with connected(access, "operator", clock) as connection:
        parts = await set_up(connection, plan, Deadline.after(clock, _PATIENCE))
        deadline = Deadline.after(clock, _PATIENCE)
        state = await look(connection, plan.names, deadline, with_limits=True)
    return parts, compare(state, max_event_bytes=plan.max_event_bytes)


def _show(parts: list[Part], advice: list[Advice]) -> None:
    words = {"created": "created", "right": "is there", "differs": "differs, and was not changed"}
    print_columns(("what", "state"), ((part.what, words[part.fate]) for part in parts))
    report = Report()
    for part in parts:
        for difference in part.differences:
            report.say(f"{part.what}: {difference}")
    if any(part.differences for part in parts):
        report.say("nats stream edit and nats consumer edit change what is there")
    for each in advice:
        report.say(f"{'this loses events' if each.loses_events else 'warning'}: {each.text}")
