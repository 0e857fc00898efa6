"""
A shift of the spool's thread.

Changed under the queue's lock.
"""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue

from attrs import Factory, define

from hh_exporter._spool.work import Work

__all__ = ["Shift"]


@define(eq=False)
class Shift:
    """
    The work from one start to the close that follows.
    """

    work: SimpleQueue[Work | None] = Factory(SimpleQueue)
    """None is the last."""
    reads: bool = False
    """Whether it takes over files that other processes left."""
    has_begun: bool = False
    """Whether it has begun to."""
    is_read: bool = False
    """Whether all of these have been opened, each of them once."""
    is_closing: bool = False
    """Whether it takes no more work."""
    on_read: list[Callable[[], None]] = Factory(list)
    on_over: list[Callable[[], None]] = Factory(list)
