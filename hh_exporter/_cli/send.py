"""
`hh-exporter send`: events from JSONL to the API, with an outcome for each.

Every line is invalid, skipped or pushed, and every pushed event is delivered,
rejected, dropped or left: the summary's numbers add up however the run ends.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Iterator
from functools import partial

import attrs
import click
import orjson
from attrs import Factory, define, field, frozen

from hh_exporter._cli._kinds import LineParser
from hh_exporter._cli._lines import Fault, Line, LineReader
from hh_exporter._cli._report import Report, list_counts, print_table, tell_numbers
from hh_exporter._cli._setup import (
    check_option,
    dialect_option,
    make_exporter,
    read_usable_settings,
    url_option,
)
from hh_exporter._cli._waiting import Signals, caught_signals, repeated, run_unless
from hh_exporter._clock import Clock, SystemClock
from hh_exporter._environment import Settings
from hh_exporter._exporter import Exporter
from hh_exporter._outcomes import DropReason, Outcome, Settlement
from hh_exporter._settings.kinds import seconds
from hh_exporter.events import AnyEvent
from hh_exporter.exceptions import EventError

__all__ = ["Sending", "Summary", "send_command"]

_MAX_REPORTS = 20
"""How many invalid lines are named; the rest is counted."""


@click.command("send")
@click.argument("files", nargs=-1, type=click.Path(exists=True, readable=False, allow_dash=True))
@url_option
@dialect_option
@click.option(
    "--batch-max-events",
    metavar="N",
    type=click.IntRange(min=1),
    help="Most events in one request.",
)
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=float,
    default=60.0,
    show_default=True,
    callback=check_option(seconds(zero=True)),
    help="How long to wait for outcomes after the last line.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one line of JSON.")
def send_command(
    files: tuple[str, ...],
    url: str | None,
    dialect: str | None,
    batch_max_events: int | None,
    timeout: float,
    as_json: bool,
) -> None:
    """
    Send events from FILES, or from standard input.

    FILES hold one JSON object a line, and may be gzipped; - is standard input. A
    line with an event_type has the fields of an Event, one without those of a
    ModelEvent, whatever the dialect; the collector's own exports of events and of
    sessions are taken, too. The key is taken from HH_API_KEY; a server on this machine needs none.

    Exits with 0 only if every event was delivered or relayed, 1 if not, and 2 for a
    wrong call.
    """
    report = Report()
    with report.logs():
        settings = read_usable_settings({"base_url": url, "dialect": dialect}, os.environ)
        if batch_max_events is not None:
            batch = attrs.evolve(settings.batch, max_events=batch_max_events)
            settings = attrs.evolve(settings, batch=batch)
        sending = Sending.of(settings, report)
        asyncio.run(sending.run(files or ("-",), timeout, settings.close_timeout))
    summary = sending.summary()
    if as_json:
        click.echo(orjson.dumps(attrs.asdict(summary)).decode())
    else:
        print_table(sending.rows())
    raise SystemExit(0 if sending.is_complete else 1)


@frozen(kw_only=True)
class Summary:
    """
    What became of the lines.

    `read == invalid + skipped + pushed`, and
    `pushed == delivered + relayed + rejected + dropped + left`; what an earlier run has
    left in a spool counts too, but for `read` and `pushed`.
    """

    read: int
    """Lines that are not blank."""
    invalid: int
    """Those of them that hold no event."""
    skipped: int
    """Those of a collector's export that repeat a session, or say nothing of one."""
    pushed: int
    delivered: int
    relayed: int
    """A stream has them, for a relay to deliver."""
    rejected: int
    dropped: int
    left: int
    """Not decided when the run ended: dropped for that, or in the spool."""
    requests: int
    retries: int


@define(eq=False, kw_only=True)
class Sending:
    """
    One run, from lines to outcomes.
    """

    exporter: Exporter
    report: Report
    clock: Clock = Factory(SystemClock)
    statuses: Counter[int | None] = Factory(Counter)
    """HTTP statuses by which events were rejected."""
    _trouble: str = field(default="", init=False)
    """Why it does not go on, at the last look; empty if it does."""
    _read_all: bool = field(default=False, init=False)
    _faults: int = field(default=0, init=False)
    _invalid: int = field(default=0, init=False)
    _skipped: int = field(default=0, init=False)
    _refused: asyncio.Event = field(factory=asyncio.Event, init=False)
    """Set once the server refuses us, not an event."""
    _parser: LineParser = field(factory=LineParser, init=False)

    @classmethod
    def of(cls, settings: Settings, report: Report) -> Sending:
        statuses = Counter[int | None]()

        def note(settlement: Settlement) -> None:
            if settlement.outcome is Outcome.REJECTED:
                statuses[settlement.status] += len(settlement.event_ids)

        return cls(exporter=make_exporter(settings, note), report=report, statuses=statuses)

    async def run(self, names: tuple[str, ...], timeout: float, close_timeout: float) -> None:
        """
        Send the events in *names* and wait for their outcomes.

        Args:
            names: Paths, or "-" for standard input.
            timeout: Seconds to wait for outcomes after the last line.
            close_timeout: Seconds to wait for them after a signal.
        """
        with (
            caught_signals() as signals,
            LineReader(names) as lines,
            self.report.progress("sending"),
        ):
            await self.exporter.start()
            try:
                async with repeated(partial(self._look, lines), self.clock):
                    await self._send(lines, timeout, close_timeout, signals)
            finally:
                # Leaves it in the spool, or drops it as `closed`: nothing else is dropped for that.
                await self.exporter.aclose(0)
        self._say_end(signals)

    @property
    def is_complete(self) -> bool:
        """
        Whether all that was to be read was read, and none of it was lost or left.
        """
        summary = self.summary()
        is_lost = summary.invalid or summary.rejected or summary.dropped or summary.left
        return self._read_all and not self._faults and not is_lost

    def summary(self) -> Summary:
        stats = self.exporter.stats()
        closed = stats.dropped_by_reason.get(DropReason.CLOSED, 0)
        return Summary(
            read=self._invalid + self._skipped + stats.pushed,
            invalid=self._invalid,
            skipped=self._skipped,
            pushed=stats.pushed,
            delivered=stats.delivered,
            relayed=stats.relayed,
            rejected=stats.rejected,
            dropped=stats.dropped - closed,
            left=closed + stats.spooled,
            requests=stats.requests,
            retries=stats.retries,
        )

    def rows(self) -> Iterator[tuple[str, str, str]]:
        """
        Make the rows of a table of the summary, with what explains its numbers.
        """
        dropped = Counter(self.exporter.stats().dropped_by_reason)
        dropped.pop(DropReason.CLOSED, None)
        remarks = {
            "rejected": list_counts({f"HTTP {status}": n for status, n in self.statuses.items()}),
            "dropped": list_counts({reason.value: n for reason, n in dropped.items()}),
        }
        return tell_numbers(attrs.asdict(self.summary()), remarks)

    async def _send(
        self,
        lines: LineReader,
        timeout: float,
        close_timeout: float,
        signals: Signals,
    ) -> None:
        await run_unless(self._send_all(lines, timeout), signals.first, self._refused)
        if signals.first.is_set() and not self._refused.is_set():
            flush = self.exporter.flush(close_timeout)
            await run_unless(flush, signals.second, self._refused)

    async def _send_all(self, lines: LineReader, timeout: float) -> None:
        async for some in lines:
            for line in some:
                event = self._structure(line)
                if event is not None:
                    await self.exporter.put(event)
        self._read_all = True
        await self.exporter.flush(timeout)

    def _structure(self, line: Line | Fault) -> AnyEvent | None:
        """
        Make an event of *line*, or report what is wrong with it: never its text.

        None also for what is skipped.
        """
        if isinstance(line, Fault):
            self._faults += 1
            self.report.say(f"{click.format_filename(line.source)}: {line.problem}")
            return None
        try:
            event = self._parser.parse(line.text)
        except EventError as exc:
            self._invalid += 1
            if self._invalid <= _MAX_REPORTS:
                self.report.say(f"{click.format_filename(line.source)}:{line.number}: {exc}")
            return None
        self._skipped += event is None
        return event

    def _look(self, lines: LineReader) -> None:
        """
        Show how far it is, and see whether the server refuses us.
        """
        stats = self.exporter.stats()
        if not self._refused.is_set():
            self._trouble = stats.health_reason
        if stats.health == "suspended":
            self._refused.set()
        passed = self._invalid + self._skipped
        self.report.show(passed + stats.settled, self._guess_total(lines, passed + stats.pushed))

    def _guess_total(self, lines: LineReader, read: int) -> int | None:
        if self._read_all:
            return read
        if lines.size is None or not lines.bytes_read:
            return None
        return max(read, round(read * lines.size / lines.bytes_read))

    def _say_end(self, signals: Signals) -> None:
        """
        Say what kept the run from its end.
        """
        if self._invalid > _MAX_REPORTS:
            self.report.say(f"{self._invalid - _MAX_REPORTS:,} more invalid lines")
        left = self.summary().left
        if self._refused.is_set():
            self.report.say(f"stopped: {self._trouble}")
        elif not self._read_all:
            self.report.say("stopped by a signal, before all was read")
        elif left:
            why = "by a signal" if signals.first.is_set() else "when --timeout was over"
            trouble = f": {self._trouble}" if self._trouble else ""
            self.report.say(f"stopped {why}, before all was delivered{trouble}")
