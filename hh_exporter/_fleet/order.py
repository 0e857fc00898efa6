"""
The order of events and updates, where what waits is in a stream.
"""

from __future__ import annotations

from attrs import define

from hh_exporter._queue.followed import Followed
from hh_exporter._records import Record

__all__ = ["Unordered"]


@define(eq=False)
class Unordered(Followed):
    """
    What remembers nothing of records that are given back: another relay may deliver them.
    """

    def wait(self, record: Record) -> None:
        """
        Note that *record* waits in the stream.
        """
