"""
When a relay takes events, and when it gives them back.

While the API takes events, as many are in hand as are wanted. While all sending is blocked,
nothing waits here that another relay could deliver: what is not being tried is given back at
once, and one batch is taken each time that a probe is due. It does not come straight back here,
since nothing is asked for until then. A delay would hold it from everybody, so only an event
that was refused by itself has one: the stream gives first what was given back, and would give
nothing else, however many good events are behind it. What has lapsed is another relay's, and
is not sent from here if it was not yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf

from attrs import define, field

from hh_exporter._delivery.breaker import Breaker
from hh_exporter._delivery.picking import Picker
from hh_exporter._fleet.feed import Feed
from hh_exporter._fleet.metadata import read_metadata
from hh_exporter._fleet.queue import StreamQueue
from hh_exporter._outcomes import DropReason
from hh_exporter._records import Record

__all__ = ["StreamRefill"]

_FIRST_WAIT, _LONGEST_WAIT = 900.0, 3600.0
"""Seconds for which an event waits in the stream that was refused by itself, longer each time it is
given out: within the first, forty others have their turn."""


@define(eq=False, kw_only=True)
class StreamRefill:
    """
    The way of records from the stream to memory and back, for one worker.
    """

    feed: Feed
    queue: StreamQueue
    breaker: Breaker
    max_events: int
    """Records of a batch."""
    wake: Callable[[], None]
    picker: Picker = field(init=False)

    def begin(self) -> None:
        """
        Begin; the link asks by itself.
        """

    def look(self, now: float) -> float:
        """
        See whether more is wanted, or less.

        Returns:
            When to look again, if nothing happens before.
        """
        self._leave_lapsed(now)
        look = min(self._look(now), self.feed.hand.lapses_at())
        self.feed.wake()
        return look

    def _leave_lapsed(self, now: float) -> None:
        lapsed = {held.record for held in self.feed.hand.lapse(now)} - self.queue.ledger.flying
        if lapsed:
            self.picker.release()
            records = self.queue.pull(self.queue.limits.max_events)
            self.queue.part_with([record for record in records if record in lapsed])
            self.queue.put_back([record for record in records if record not in lapsed])

    def _look(self, now: float) -> float:
        breaker, ledger = self.breaker, self.queue.ledger
        if not breaker.is_blocked:
            self.feed.target = inf
            return inf
        if self.queue.closed or not self.feed.is_connected:
            return inf
        due_at = breaker.free_at()
        if due_at > now:
            self.feed.target = 0
            if ledger.queued:
                if breaker.probes_alone:
                    self._hold_back(self.picker.prober.aside)
                self.picker.release()
                self.queue.drain(DropReason.CLOSED)
            return due_at
        if not (ledger.queued or ledger.in_flight):
            self.feed.target = 1 if breaker.probes_alone else self.max_events
        return inf

    def _hold_back(self, records: Iterable[Record]) -> None:
        """
        Have records wait in the stream, once they are given back, until others had their turn.
        """
        for record in records:
            held = self.feed.hand.of(record)
            metadata = None if held is None else read_metadata(held.reply)
            if metadata is not None:
                wait = min(_FIRST_WAIT * metadata.delivered, _LONGEST_WAIT)
                self.feed.returns.delays[record] = wait
