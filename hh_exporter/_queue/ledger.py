"""
The books: what came in, where it is, and what became of it.

Every change keeps `pushed + recovered == delivered + relayed + rejected + dropped + queued +
in_flight + spooled`. Each is one step, as the moves of what is `Unsettled` are, and the
watches change in it too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import Factory, define

from hh_exporter._outcomes import DropReason, FlushResult, Outcome
from hh_exporter._queue.holders import let_go
from hh_exporter._queue.requests import Requests
from hh_exporter._queue.unsettled import Unsettled
from hh_exporter._queue.watches import Watch, Watches
from hh_exporter._records import Record, total_bytes

__all__ = ["Ledger"]


@define(eq=False)
class Ledger(Unsettled):
    """
    What became of each record, and where those are that are unsettled.
    """

    delivered: int = 0
    relayed: int = 0
    rejected: int = 0
    dropped: dict[DropReason, int] = Factory(dict)
    watches: Watches = Factory(Watches)
    requests: Requests = Factory(Requests)

    # From outside.

    def refuse(self, reason: DropReason, count: int = 1) -> None:
        """
        Count events that are pushed and dropped at once.
        """
        self.dropped.setdefault(reason, 0)
        # In one step.
        self.pushed += count
        self.dropped[reason] += count

    def recover(self, count: int) -> None:
        """
        Count records on disk that others pushed, and that are now ours to deliver.
        """
        # They come before all others, so each watch will see their outcomes.
        tallies = self.watches.expect(count)
        # In one step.
        self.recovered += count
        self.spooled += count
        self.watches.tallies = tallies

    # To an outcome.

    def lose(self, seqs: Sequence[int], reason: DropReason) -> list[Watch]:
        """
        Count records on disk that are dropped without coming back to memory.

        Args:
            seqs: Their places in the order.

        Returns:
            The watches that are complete with this.
        """
        count = len(seqs)
        self.dropped.setdefault(reason, 0)
        tallies = self.watches.note(seqs, Outcome.DROPPED)
        # In one step.
        self.spooled -= count
        self.dropped[reason] += count
        self.watches.tallies = tallies
        return self.watches.complete()

    def drop(self, record: Record, reason: DropReason) -> list[Watch]:
        """
        Drop a record that is pulled, or the first that waits.

        Returns:
            The watches that are complete with this.
        """
        origin = self.pulled if record in self.pulled else None
        return self._end(origin, (record,), Outcome.DROPPED, reason)[1]

    def settle(
        self, records: Sequence[Record], outcome: Outcome, reason: DropReason | None
    ) -> tuple[Sequence[Record], list[Watch]]:
        """
        Count the outcome of those of *records* that are in flight.

        Returns:
            These, and the watches that are complete with this.
        """
        return self._end(self.flying, records, outcome, reason)

    def watch(self, wake: Callable[[], None]) -> Watch:
        """
        Watch all records that have no outcome now; end with `Watch.end`.
        """
        watch = Watch(wake, self.watches)
        pushed = -1
        while pushed != self.pushed:  # a handler may push meanwhile
            pushed = self.pushed
            left = self.queued + self.in_flight + self.spooled
            tallies = {**self.watches.tallies, watch: FlushResult(0, 0, 0, left)}
        # In one step.
        watch.last_seq = self.pushed + self.recovered
        self.watches.tallies = tallies
        return watch

    # Within.

    def _end(
        self,
        origin: set[Record] | None,
        records: Sequence[Record],
        outcome: Outcome,
        reason: DropReason | None,
    ) -> tuple[Sequence[Record], list[Watch]]:
        """
        Give those of *records* an outcome that are in *origin*; None is the head of what waits.
        """
        watches = self.watches
        is_delivered, is_relayed = outcome is Outcome.DELIVERED, outcome is Outcome.RELAYED
        is_flying = origin is self.flying
        if reason is not None:
            self.dropped.setdefault(reason, 0)
        batch = set(records)
        if origin is not None and not batch <= origin:
            batch &= origin
        ended = records if len(records) == len(batch) else [r for r in records if r in batch]
        count, size = len(ended), total_bytes(ended) if origin is not None else ended[0].size
        is_packed = origin is None and ended[0].block is not None
        tallies = watches.note([r.seq for r in ended] if watches.tallies else (), outcome)
        pushed = -1
        while pushed != self.pushed:  # a handler may push meanwhile, of one of their sessions
            pushed = self.pushed
            holders, announced = let_go(self.holders, ended)
        # In one step.
        if origin is None:
            del self.waiting[0]
            self.waiting_bytes -= size
            if is_packed:
                self.packed -= 1
                self.packed_bytes -= size
        else:
            origin -= batch
        if is_flying:
            self.in_flight -= count
            self.in_flight_bytes -= size
        else:
            self.queued -= count
            self.queued_bytes -= size
        self.holders |= holders
        self.session_bytes -= announced
        if reason is not None:
            self.dropped[reason] += count
        elif is_delivered:
            self.delivered += count
        elif is_relayed:
            self.relayed += count
        else:
            self.rejected += count
        self.watches.tallies = tallies
        for session in holders:
            if session in self.holders and not self.holders[session]:
                del self.holders[session]
        return ended, watches.complete()
