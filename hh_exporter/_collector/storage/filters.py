"""
Filters: conditions on events, as SQL.

Values are always passed as parameters. The text of an event is searched last, and
callers bound how much of it is.
"""

from __future__ import annotations

from typing import Final

from attrs import frozen

from hh_exporter._collector.storage.matching import PathTest, WordTest, as_parameter
from hh_exporter._collector.storage.summary import short

__all__ = ["EVERYTHING", "Asked", "Filter", "Sql"]


@frozen
class Sql:
    """
    A condition and its parameters; conditions are joined by `&`.
    """

    condition: str = "1"
    parameters: tuple[object, ...] = ()

    def __and__(self, other: Sql) -> Sql:
        return Sql(f"{self.condition} AND {other.condition}", (*self.parameters, *other.parameters))


@frozen
class Asked:
    """
    What the terms of a filter's text ask for, all of it.
    """

    columns: Sql = Sql()
    """Of the row of `events`."""
    words: tuple[WordTest, ...] = ()
    values: tuple[PathTest, ...] = ()

    def __and__(self, other: Asked) -> Asked:
        return Asked(
            self.columns & other.columns, self.words + other.words, self.values + other.values
        )


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
    """Is part of its JSON text or its ids, upper or lower case, however JSON escapes it."""

    filter: Asked = Asked()
    """What the filter language says beside."""

    @property
    def needs_text(self) -> bool:
        """
        Whether the text of events must be read to tell which are meant.
        """
        return bool(self._words or self.filter.values)

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
        sql = self.filter.columns
        for condition, value in wanted.items():
            if value is not None:
                sql = Sql(condition, (value,)) & sql
        return sql

    def texts(self) -> Sql:
        """
        Say what the row of `texts` must be like.
        """
        sql = Sql()
        text = "CAST(texts.event AS BLOB)"
        if words := self._words:
            ids = "CAST(texts.event_id AS BLOB), CAST(texts.session_id AS BLOB)"
            sql &= Sql(f"contains({text}, {ids}, ?)", (as_parameter(words),))
        if values := self.filter.values:
            sql &= Sql(f"holds({text}, ?)", (as_parameter(values),))
        return sql

    @property
    def _words(self) -> tuple[WordTest, ...]:
        text = () if self.text is None else (WordTest(self.text.casefold()),)
        return (*text, *self.filter.words)


EVERYTHING: Final = Filter()
