"""
What is left when an event loop or the exporter ends: counted once, and given up.

Each event that is left is in one log message, with the server's last failure.
"""

from __future__ import annotations

from attrs import define, field

from hh_exporter._delivery.settler import Settler
from hh_exporter._delivery.worker import Worker
from hh_exporter._log import get_log
from hh_exporter._outcomes import DropReason
from hh_exporter._queue.queue import RecordQueue

__all__ = ["Leftovers"]

log = get_log(__name__)

_LOOPLESS_EVENTS = 1000
"""How many events may be queued without a loop before it is worth a warning."""

_ENDED = "the exporter was not closed: await aclose(), or use it as an async context manager"
_LATE = "not sent by the end of the close: raise close_timeout, or use a spool"
_CUT_SHORT = "the close was cancelled before it had sent them: give it more time, or use a spool"


@define(eq=False, kw_only=True)
class Leftovers:
    """
    What of one exporter is left.
    """

    queue: RecordQueue
    settler: Settler
    address: str
    has_thread: bool = field(default=False, init=False)
    """Whether the worker has a thread of its own, which the end of the process closes."""
    is_cut_short: bool = field(default=False, init=False)
    """Whether a close ended because its caller was cancelled."""
    _warned_loopless: bool = field(init=False)
    _counted_to: int = field(default=0, init=False)
    """The last record that a log message has counted as left."""

    def __attrs_post_init__(self) -> None:
        self._warned_loopless = self.settler.is_silent

    def say(self, worker: Worker | None) -> None:
        """
        Log how much is left as the loop of *worker* has ended, unless the next has a thread too.
        """
        ledger = self.queue.ledger
        is_quiet = self.has_thread or self.settler.is_silent
        if (left := ledger.queued) and not is_quiet:
            self._counted_to = ledger.pushed + ledger.recovered
            log.warning(
                "hh_exporter: the event loop ended with %d events queued%s: "
                "await aclose() before it ends",
                left,
                self._trouble(worker, "; %s"),
            )

    def warn_loopless(self) -> None:
        """
        Log, once, that many events wait for a loop.
        """
        queued = self.queue.ledger.queued
        if not self._warned_loopless and queued >= _LOOPLESS_EVENTS:
            self._warned_loopless = True
            log.warning(
                "hh_exporter: %d events were pushed, but no event loop sends them: "
                "await start() in one, or use Exporter.in_thread()",
                queued,
            )

    def give_up(self, worker: Worker | None) -> None:
        """
        Spool what is queued, or drop it and log that, unless a message has counted it already.
        """
        why = _LATE if self.has_thread else _ENDED
        detail = f"{self._trouble(worker, '%s; ')}{why}"
        self.settler.drain(DropReason.CLOSED, detail=detail, counted_to=self._counted_to)

    def give_up_late(self, worker: Worker | None) -> None:
        """
        Do the same after a close.
        """
        why = _CUT_SHORT if self.is_cut_short else _LATE
        self.settler.drain(DropReason.CLOSED, detail=f"{self._trouble(worker, '%s; ')}{why}")

    def _trouble(self, worker: Worker | None, form: str) -> str:
        """
        Say, in *form*, how the last answer failed; empty if it did not.
        """
        trouble = "" if worker is None else worker.breaker.trouble
        return trouble and form % f"{self.address}: {trouble}"
