"""
The queue of a relay: what is not in memory is in the stream, for any relay.

So what was given back is nobody's: it is neither kept here, nor in front of what comes next.
"""

from __future__ import annotations

from attrs import Factory, define

from hh_exporter._queue.followed import Followed
from hh_exporter._queue.queue import RecordQueue
from hh_exporter._records import Record

__all__ = ["StreamQueue"]


@define(eq=False)
class _Unordered(Followed):
    """
    What remembers nothing of records that are given back: another relay may deliver them.
    """

    def wait(self, record: Record) -> None:
        """
        Note that *record* waits in the stream.
        """


@define(eq=False)
class StreamQueue(RecordQueue):
    """
    Records on their way from the stream to the worker, in the order of the stream.
    """

    followed: Followed = Factory(_Unordered)

    @property
    def kept(self) -> int:
        with self.lock:
            return self.ledger.queued + self.ledger.in_flight

    @property
    def has_open_records(self) -> bool:
        return self.has_records
