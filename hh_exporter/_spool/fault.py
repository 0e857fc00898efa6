"""
What is wrong with the files of a spool, for health and for the log.

A fault that comes back within a minute belongs to the same episode, which is logged once.
"""

from __future__ import annotations

from math import inf
from pathlib import Path

from attrs import define, field

from hh_exporter._clock import Clock
from hh_exporter._log import get_log

__all__ = ["Fault"]

log = get_log(__name__)

_EPISODE_GAP = 60.0
"""Seconds after a message in which another fault is the same episode."""


@define(eq=False)
class Fault:
    """
    The fault of one spool.
    """

    directory: Path
    clock: Clock
    text: str = field(default="", init=False)
    """Why the disk can't be used; empty if it can."""
    _say_at: float = field(default=-inf, init=False)
    _say_moved_at: float = field(default=-inf, init=False)

    def note(self, exc: Exception) -> None:
        """
        Note that *exc* kept something from being written.
        """
        what = str(exc) or type(exc).__name__
        now = self.clock.now()
        if not self.text and now >= self._say_at:
            self._say_at = now + _EPISODE_GAP
            log.warning(
                "hh_exporter: the spool in %s can't be written to (%s): events are kept in memory "
                "only, and dropped as spool_full if they don't fit",
                self.directory,
                what,
            )
        self.text = what

    def note_moved(self, what: str) -> None:
        """
        Note that a file was deleted, moved, replaced or truncated, and *what* became of it.
        """
        now = self.clock.now()
        if now >= self._say_moved_at:
            self._say_moved_at = now + _EPISODE_GAP
            log.warning(
                "hh_exporter: a spool file in %s was deleted, moved, replaced or truncated while "
                "it was in use: %s",
                self.directory,
                what,
            )
