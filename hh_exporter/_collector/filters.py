"""
Conditions on events, as SQL.

Values are always passed as parameters. The text of an event is searched last, and
callers bound how much of it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import frozen

from hh_exporter._collector.summary import short

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["EVERYTHING", "Filter", "Sql", "contains"]

_BACKSLASH: Final = "\ufdd0"
"""Stands for one while other escapes are read; no character (Unicode 23.7)."""
_QUOTES: Final = {'\\"': '"', "\\/": "/"}
_CONTROLS: Final = {"\\n": "\n", "\\t": "\t", "\\r": "\r", "\\b": "\b", "\\f": "\f"}
_LEVELS: Final = (_QUOTES | _CONTROLS, _QUOTES, _QUOTES)
"""What is read at each level of JSON within JSON; `C:\\new` is no line end but at the first."""


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
    """Is part of its JSON text or its ids, upper or lower case, however JSON escapes it."""

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
        needle = self.text.casefold()
        columns = ("texts.event", "texts.event_id", "texts.session_id")
        either = " OR ".join(f"contains(CAST({column} AS BLOB), ?)" for column in columns)
        return Sql(f"({either})", (needle,) * len(columns))


def contains(text: bytes, needle: str) -> bool:
    """
    Look for *needle*, which has no case, in JSON *text* as it reads; for SQLite.

    A text in it may be JSON again, such as the arguments of a tool, with escapes of its
    own. SQLite's LIKE takes the product of both lengths to find nothing, this the sum.
    """
    is_ascii = needle.isascii()
    # Of bytes the case is changed ten times as fast, and others than ASCII don't matter then.
    read = text.lower().decode("latin-1") if is_ascii else text.decode(errors="replace").casefold()
    for escapes in _LEVELS:
        deeper = _unescaped(read, escapes, with_units=not (is_ascii and needle.isprintable()))
        if needle in deeper:
            return True
        if deeper == read:
            return False
        read = deeper
    return False


def _unescaped(text: str, escapes: Mapping[str, str], *, with_units: bool) -> str:
    if "\\" not in text:
        return text
    text = text.replace("\\\\", _BACKSLASH)
    for escape, character in escapes.items():
        text = text.replace(escape, character)
    if with_units and "\\u" in text:
        text = text.encode("raw_unicode_escape").decode("raw_unicode_escape", errors="replace")
        whole = text.encode("utf-16", errors="surrogatepass").decode("utf-16", errors="replace")
        text = whole.casefold()
    return text.replace(_BACKSLASH, "\\")


EVERYTHING: Final = Filter()
