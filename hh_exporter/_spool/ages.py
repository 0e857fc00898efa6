"""
The times in a spool file, and how they are kept right.

They are Unix times, of clocks that may have been wrong: of one that was set since, or of
none at all. Used within a transaction.
"""

from __future__ import annotations

import sqlite3

from attrs import define

from hh_exporter._spool.kept import EARLIEST

__all__ = ["Ages"]

_REDATE = (
    "UPDATE records SET pushed_at = pushed_at + ? WHERE pushed_at BETWEEN ? AND ?",
    "UPDATE letters SET pushed_at = pushed_at + ? WHERE pushed_at BETWEEN ? AND ?",
    "UPDATE letters SET died_at = died_at + ? WHERE died_at BETWEEN ? AND ?",
)
_BOUND_AGE = (
    "UPDATE records SET pushed_at = ? WHERE pushed_at < ? OR pushed_at > ?",
    "UPDATE letters SET pushed_at = ? WHERE pushed_at < ? OR pushed_at > ?",
)

_SLACK = 60.0
"""Seconds by which the clocks of processes may differ."""


@define(eq=False)
class Ages:
    """
    The times of the records and letters of one database.
    """

    _db: sqlite3.Connection

    def redate(self, first: float, last: float, step: float) -> None:
        """
        Add *step* to the Unix times between two others.
        """
        for statement in _REDATE:
            self._db.execute(statement, (step, first, last))

    def bound_age(self, now: float) -> None:
        """
        Have nothing be of the future, which would not expire, or of when clocks were not set.

        It was pushed now, a Unix time, for all that is known.
        """
        if now >= EARLIEST:
            for statement in _BOUND_AGE:
                self._db.execute(statement, (now, EARLIEST, now + _SLACK))
