"""
Deliver what waits in a spool, without the program that wrote it.

Nothing is lost, however it ends: events without an outcome stay on disk, and what is
rejected again is a dead letter again.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import attrs
import click
import orjson
from attrs import Factory, define, field, frozen

from hh_exporter._cli._report import Report, list_counts, print_table, tell_numbers
from hh_exporter._cli._setup import check_option, make_exporter
from hh_exporter._cli._spools import Spool, tell_count
from hh_exporter._cli._target import find_target
from hh_exporter._cli._waiting import caught_signals, repeated, run_unless
from hh_exporter._clock import NEVER, Clock, Deadline, SystemClock
from hh_exporter._dialects.registry import DIALECTS
from hh_exporter._environment import Settings
from hh_exporter._exporter import Exporter
from hh_exporter._outcomes import DropReason, Outcome, Settlement
from hh_exporter._records import Subject
from hh_exporter._settings.kinds import seconds

__all__ = [
    "Draining",
    "Summary",
    "Tally",
    "deliver",
    "dialect_option",
    "patience_option",
    "url_option",
]

_LOOK = 0.1
_STAYS = frozenset({DropReason.CLOSED, DropReason.SPOOL_FULL})
"""Drops that are none here, since the events are still on disk."""

url_option = click.option(
    "--url", help="Address of the server; default HH_API_URL, else what the files say."
)
dialect_option = click.option(
    "--dialect",
    type=click.Choice(tuple(DIALECTS)),
    help="How to speak to it; default HH_EXPORTER_DIALECT, else what the files say.",
)
patience_option = click.option(
    "--timeout",
    metavar="SECONDS",
    type=float,
    default=60.0,
    show_default=True,
    callback=check_option(seconds(zero=True)),
    help="How long to go on while no event gets an outcome.",
)


@frozen(kw_only=True)
class Summary:
    """
    What became of the events that were to be delivered.

    `recovered == delivered + relayed + rejected + dropped + left`.
    """

    recovered: int
    """Taken from disk."""
    delivered: int
    relayed: int
    """A stream has them, for a relay to deliver."""
    rejected: int
    dropped: int
    left: int
    """Still on disk, to be sent."""
    requests: int
    retries: int


@define(eq=False)
class Tally:
    """
    Outcomes, of all events or of some.
    """

    total: int
    awaited: Counter[Subject] | None = None
    """How many records are meant of each subject; None means all."""
    outcomes: Counter[Outcome] = Factory(Counter)
    reasons: dict[Outcome, Counter[str]] = Factory(lambda: {one: Counter() for one in Outcome})
    requests: int = 0
    retries: int = 0

    def note(self, settlement: Settlement) -> None:
        if settlement.reason in _STAYS:
            return
        is_update = settlement.is_update
        count = sum(self._is_meant(Subject(i, is_update)) for i in settlement.event_ids)
        self.outcomes[settlement.outcome] += count
        why = settlement.reason or f"HTTP {settlement.status}"
        self.reasons[settlement.outcome][str(why)] += count

    @property
    def left(self) -> int:
        return self.total - self.outcomes.total()

    @property
    def arrived(self) -> int:
        """
        How many are where they were to go.
        """
        return self.outcomes[Outcome.DELIVERED] + self.outcomes[Outcome.RELAYED]

    def summary(self) -> Summary:
        return Summary(
            recovered=self.total,
            delivered=self.outcomes[Outcome.DELIVERED],
            relayed=self.outcomes[Outcome.RELAYED],
            rejected=self.outcomes[Outcome.REJECTED],
            dropped=self.outcomes[Outcome.DROPPED],
            left=self.left,
            requests=self.requests,
            retries=self.retries,
        )

    def rows(self) -> Iterator[tuple[str, str, str]]:
        """
        Make the rows of a table of the summary, with what explains its numbers.
        """
        rejected = list_counts(self.reasons[Outcome.REJECTED])
        remarks = {
            "rejected": f"{rejected}, dead letters again" if rejected else "",
            "dropped": list_counts(self.reasons[Outcome.DROPPED]),
            "left": "still in the spool" if self.left else "",
        }
        return tell_numbers(attrs.asdict(self.summary()), remarks)

    def _is_meant(self, subject: Subject) -> bool:
        if self.awaited is None:
            return True
        self.awaited[subject] -= 1
        return self.awaited[subject] >= 0


def deliver(
    spool: Spool,
    paths: Collection[Path],
    take: Callable[[Collection[Path]], Tally],
    report: Report,
    *,
    given: Mapping[str, Any],
    timeout: float,
    as_json: bool,
) -> NoReturn:
    """
    Deliver what is in files of a spool, say what became of it, and end the process.

    Args:
        take: Prepares those of *paths* that can be sent, and says what to wait for.
        given: The address and the dialect, as far as they are given.
        timeout: Seconds to continue without any outcome.
    """
    tally = Tally(0)
    if paths:
        settings, ours = find_target(spool, paths, given)
        tally = take(ours)
        if tally.total:
            draining = Draining.of(settings, tally, report)
            asyncio.run(draining.run(timeout, settings.close_timeout))
    elif spool.is_complete:
        report.say("there is nothing to be sent")
    summary = tally.summary()
    if as_json:
        files = {"held": spool.held, "others": spool.others, "unreadable": spool.unreadable}
        click.echo(orjson.dumps({**attrs.asdict(summary), **files}).decode())
    else:
        print_table(tally.rows())
    is_all = tally.arrived == tally.total and not spool.damaged
    raise SystemExit(0 if is_all and spool.is_complete else 1)


@define(eq=False, kw_only=True)
class Draining:
    """
    One run, from the files to outcomes.
    """

    exporter: Exporter
    tally: Tally
    report: Report
    clock: Clock = Factory(SystemClock)
    _trouble: str = field(default="", init=False)
    """Why it does not go on, at the last look; empty if it does."""
    _decided: int = field(default=-1, init=False)
    """How many events had their outcome at the last look."""
    _patience: Deadline = field(default=NEVER, init=False)
    _is_stuck: bool = field(default=False, init=False)
    _refused: asyncio.Event = field(factory=asyncio.Event, init=False)
    _over: asyncio.Event = field(factory=asyncio.Event, init=False)
    """Set once there is nothing more to wait for."""

    @classmethod
    def of(cls, settings: Settings, tally: Tally, report: Report) -> Draining:
        return cls(exporter=make_exporter(settings, tally.note), tally=tally, report=report)

    async def run(self, timeout: float, close_timeout: float) -> None:
        """
        Take the files over, and deliver until all that is meant has its outcome.

        Args:
            timeout: Seconds to go on without any outcome.
            close_timeout: Seconds to wait for those of requests that are under way at the end.
        """
        with caught_signals() as signals, self.report.progress("delivering"):
            await self.exporter.start()
            try:
                async with repeated(lambda: self._look(timeout), self.clock):
                    await run_unless(self._deliver(), signals.first, self._over)
                    self._look(timeout)  # a flush ends by itself where the server refuses us
                    if not (self._refused.is_set() or self._is_stuck):
                        # What is cut off in the midst may arrive twice.
                        await run_unless(self.exporter.flush(close_timeout), signals.second)
            finally:
                await self.exporter.aclose(0)
        self._say_end(timeout)

    async def _deliver(self) -> None:
        while True:
            if self.exporter.stats().recovered:
                await self.exporter.flush()
            if not self.tally.left:
                return
            await self.clock.sleep(_LOOK)  # files are still being taken over

    def _look(self, timeout: float) -> None:
        """
        Show how far it is, and see whether there is anything to wait for.
        """
        stats = self.exporter.stats()
        if stats.health == "suspended":
            self._refused.set()
        if stats.health != "closed":
            self._trouble = stats.health_reason
        if self.tally.awaited is None:  # what others left there since it was counted is meant too
            self.tally.total = max(self.tally.total, stats.recovered)
        now = self.clock.now()
        if stats.settled != self._decided:
            self._decided, self._patience = stats.settled, Deadline(now + timeout, now)
        elif self._patience.is_over(now):
            self._is_stuck = True
        if self._refused.is_set() or self._is_stuck or not self.tally.left:
            self._over.set()
        self.report.show(stats.settled, stats.recovered or None)

    def _say_end(self, timeout: float) -> None:
        """
        Say what kept it from delivering all, and what else was sent.
        """
        stats = self.exporter.stats()
        self.tally.requests, self.tally.retries = stats.requests, stats.retries
        trouble = f": {self._trouble}" if self._trouble else ""
        if not self.tally.left:
            pass
        elif self._refused.is_set():
            self.report.say(f"stopped{trouble}")
        elif self._is_stuck:
            self.report.say(f"stopped after {timeout:g} s without an outcome{trouble}")
        else:
            self.report.say(f"stopped by a signal, before all was delivered{trouble}")
        if others := stats.recovered - self.tally.total:
            sent = stats.delivered + stats.relayed - self.tally.arrived
            told = tell_count(others, "other event")
            self.report.say(f"{told} waited in the same spool: {sent:,} sent too")
