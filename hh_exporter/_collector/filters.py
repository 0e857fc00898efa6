"""
Which events are meant: conditions on them, as SQL.

Values only ever travel as parameters. The text of an event is looked at last,
and by those who have bounded how much of it there is.
"""

from __future__ import annotations

from typing import Final

import orjson
from attrs import frozen

from hh_exporter._collector.summary import short

__all__ = ["EVERYTHING", "Filter", "Sql", "contains"]


@frozen
class Sql:
    """
    A condition and its parameters; conditions are joined by `&`.
    """

    condition: str = "1"
    parameters: tuple[object, ...] = ()

    def __and__(self, other: Sql) -> Sql:
        return Sql(f"{self.condition} AND {other.condition}", (*self.parameters, *other.parameters))


@frozen(kw_only=True)
class Filter:
    """
    What an event must be like; None asks for nothing.
    """

    since: int | None = None
    """Arrived then or later, in Unix milliseconds."""
    until: int | None = None
    """Arrived before that."""
    model: str | None = None
    provider: str | None = None
    session: str | None = None
    source: str | None = None
    event_id: str | None = None
    type: str | None = None
    error: bool | None = None
    """Whether there is one."""
    text: str | None = None
    """Is part of its JSON text or its ids; ASCII letters match in either case."""

    def columns(self) -> Sql:
        """
        Say what the row of `events` must be like.
        """
        session, event_id = (name and short(name) for name in (self.session, self.event_id))
        wanted = {
            "events.time >= ?": self.since,
            "events.time < ?": self.until,
            "events.model = ?": self.model,
            "events.provider = ?": self.provider,
            "events.session_id = ?": session,
            "events.source = ?": self.source,
            "events.event_id = ?": event_id,
            "events.type = ?": self.type,
            # A call that was cancelled did not fail.
            "(nullif(events.error, 'cancelled') IS NOT NULL) = ?": self.error,
        }
        sql = Sql()
        for condition, value in wanted.items():
            if value is not None:
                sql &= Sql(condition, (value,))
        return sql

    def texts(self) -> Sql:
        """
        Say what the row of `texts` must be like.
        """
        if self.text is None:
            return Sql()
        # As it is stored: quotes, line ends and the like are escaped there.
        needle = orjson.dumps(self.text)[1:-1].lower()
        columns = ("texts.event", "texts.event_id", "texts.session_id")
        either = " OR ".join(f"contains(CAST({column} AS BLOB), ?)" for column in columns)
        return Sql(f"({either})", (needle,) * len(columns))


def contains(text: bytes, needle: bytes) -> bool:
    """
    Look for *needle*, which has no capital letters, in either case; for SQLite.

    Its own LIKE takes the product of both lengths to find nothing, Python's search the sum.
    """
    return needle in text.lower()


EVERYTHING: Final = Filter()
