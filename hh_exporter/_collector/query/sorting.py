"""
Lists sorted by one column, page by page.

Missing values come last in both directions, and ties are broken by row id, newest first. So
the order is total, and a page continues where the last one ended, even if rows were added or
deleted in between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson
from attrs import frozen

from hh_exporter._collector.query.search import choose
from hh_exporter._collector.storage.filters import Filter, Sql
from hh_exporter._collector.storage.lists import Shown, shown

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Collection

__all__ = ["EVENT_KEYS", "Mark", "Order", "Ranked", "pick", "ranked", "read_mark", "read_order"]

_MAX_INTEGER: Final = 2**63 - 1  # SQLite's
_VALUES: Final = {
    "time": "start",
    "latency": "duration",
    "tokens": "coalesce(tokens_in + tokens_out, tokens_in, tokens_out)",
    "cost": "cost",
    "ttft": "time_to_first_token",
}
EVENT_KEYS: Final = tuple(_VALUES)
"""What events can be ordered by."""
_ROWS: Final = "SELECT id, {} FROM events WHERE {{}}".format(  # noqa: S608 - all ours
    ", ".join(f"{value} AS {key}" for key, value in _VALUES.items())
)


@frozen
class Mark:
    """
    The place of a row: its value, and its number among rows of the same value.
    """

    value: float | str | None
    id: int

    def __str__(self) -> str:
        return orjson.dumps([self.value, self.id]).decode()


@frozen
class Order:
    """
    By which value rows are ordered, and which way.
    """

    key: str
    """The name of a column: never what a request says, but one of those that it may say."""
    is_descending: bool

    def clause(self) -> str:
        """
        Say in SQL what comes first.
        """
        way = "DESC" if self.is_descending else "ASC"
        return f"ORDER BY {self.key} IS NULL, {self.key} COLLATE NOCASE {way}, id DESC"

    def beyond(self, mark: Mark | None) -> Sql:
        """
        Say in SQL what comes after *mark*.
        """
        if mark is None:
            return Sql()
        if mark.value is None:
            return Sql(f"({self.key} IS NULL AND id < ?)", (mark.id,))
        value = f"{self.key} COLLATE NOCASE"
        return Sql(
            f"({value} {'<' if self.is_descending else '>'} ? OR {value} = ? AND id < ? "
            f"OR {self.key} IS NULL)",
            (mark.value, mark.value, mark.id),
        )


@frozen
class Ranked:
    """
    Some of the events that were asked for, in the order that was asked for.
    """

    events: list[Shown]
    next: str | None
    """The mark after which to go on; None at the end."""
    searched_from: int | None
    """As `search.Chosen` has it."""


def read_order(keys: Collection[str]) -> Callable[[str], Order]:
    """
    Make what reads an order of rows from a query.
    """

    def read(text: str) -> Order:
        key = text.removeprefix("-")
        if key not in keys:
            raise ValueError(f"must be one of {', '.join(keys)}, with - before it for descending")
        return Order(key, text.startswith("-"))

    return read


def read_mark(text: str) -> Mark:
    """
    Read a mark from a query.

    Raises `ValueError` if it is none that was made here.
    """
    try:
        value, row_id = orjson.loads(text)
    except (TypeError, ValueError):
        value, row_id = False, 0
    for number in (value, row_id):
        if type(number) is int and abs(number) > _MAX_INTEGER:
            value = False
    if type(value) not in (int, float, str, type(None)) or type(row_id) is not int:
        raise ValueError("must be what next was in the answer before, with the same sort")
    return Mark(value, row_id)


def ranked(
    db: sqlite3.Connection,
    wanted: Filter,
    order: Order,
    limit: int,
    *,
    before: Mark | None = None,
    after: int = 0,
) -> Ranked:
    """
    Read the first events of those that come after the mark *before*, and arrived after *after*.
    """
    chosen = choose(db, wanted)
    sql = chosen.sql & Sql("events.id > ?", (after,))
    rows, following = pick(
        db, Sql(_ROWS.format(sql.condition), sql.parameters), order, limit, before
    )
    found = {event["id"]: event for event in shown(db, [row["id"] for row in rows])}
    return Ranked([found[row["id"]] for row in rows], following, chosen.searched_from)


def pick(
    db: sqlite3.Connection, rows: Sql, order: Order, limit: int, before: Mark | None
) -> tuple[list[dict[str, Any]], str | None]:
    """
    Select the first *limit* of *rows*, a query, and the mark that ends them unless they do.
    """
    beyond = order.beyond(before)
    found = db.execute(
        f"SELECT * FROM ({rows.condition}) WHERE {beyond.condition} "  # noqa: S608 - all ours
        f"{order.clause()} LIMIT {limit + 1}",
        rows.parameters + beyond.parameters,
    )
    names = [column[0] for column in found.description]
    picked = [dict(zip(names, row, strict=True)) for row in found]
    if len(picked) <= limit:
        return picked, None
    last = picked[limit - 1]
    return picked[:limit], str(Mark(last[order.key], last["id"]))
