"""
Which values the columns of a spool file may hold, and what is read where they hold others.

SQLite checks no types: after damage, or a change by hand, there may be anything in a column.
All that is read from a file is read through these expressions, so it has the types that
the schema says, and a row that no exporter wrote so can be told and set aside.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any, Final

from attrs import field, frozen

from hh_exporter._records import MAIN, OTHERS, UPDATES

__all__ = ["LETTERS", "MAX_ID", "RECORDS", "Columns", "to_text"]

MAX_ID: Final = 2**53
"""The largest id: each file has room for as many that follow, which SQLite must be able to give."""

_MOST: Final = "1e11"
"""As Unix time it is in the year 5138."""

_LATEST: Final = ":latest"
"""What stands for a time that can't be read: when the file was last changed."""


def to_text(value: bytes) -> str:
    """
    Read what SQLite keeps as text, which may be no UTF-8.
    """
    return value.decode(errors="replace")


@frozen
class _Column:
    name: str
    rule: str
    """Whether it holds what an exporter writes there."""
    other: str
    """What is read if it doesn't."""

    @property
    def read(self) -> str:
        return f"CASE WHEN {self.rule} THEN {self.name} ELSE {self.other} END"


def _text(name: str) -> _Column:
    return _Column(name, f"typeof({name}) = 'text'", f"ifnull(CAST({name} AS TEXT), '')")


def _blob(name: str) -> _Column:
    return _Column(name, f"typeof({name}) = 'blob'", f"ifnull(CAST({name} AS BLOB), x'')")


def _optional(column: _Column, other: str = "NULL") -> _Column:
    return _Column(column.name, f"({column.name} IS NULL OR {column.rule})", other)


def _number(name: str, kind: str, least: int, most: str, other: str) -> _Column:
    return _Column(
        name, f"(typeof({name}) = '{kind}' AND {name} BETWEEN {least} AND {most})", other
    )


def _time(name: str) -> _Column:
    return _number(name, "real", 0, _MOST, _LATEST)


_ROUTE: Final = _Column(
    "route", f"(typeof(route) = 'text' AND route IN {(MAIN, OTHERS, UPDATES)})", f"'{MAIN}'"
)


@frozen
class Columns:
    """
    The columns of one table, but for its id.
    """

    table: str
    _columns: tuple[_Column, ...]
    names: str = field(init=False)
    """Those columns, to be read in this order."""
    values: str = field(init=False)
    """Expressions for their values, each of the type that it has to have."""
    rules: str = field(init=False)
    """An expression that is true of a row as an exporter writes it."""
    plain: str = field(init=False)
    """A statement that reads a row as it is: `fields`, with NULL for `odd` if not all fit."""
    careful: str = field(init=False)
    """A statement that reads any row: `fields`, each of the type that it has to have."""
    fields: tuple[str, ...] = field(init=False)
    """The id, those columns, and `odd`: the names of those that hold what no exporter writes."""
    insert: str = field(init=False)
    """A statement that adds a row: an id, or NULL for the next one, and `values_of` an object."""
    values_of: Callable[[Any], tuple[Any, ...]] = field(init=False)
    """Reads the attributes of an object that are named as the columns are, in their order."""
    oldest: str = field(init=False)
    """A statement for when the oldest row was pushed; NULL without one that says it."""

    def __attrs_post_init__(self) -> None:
        columns, names = self._columns, ", ".join(column.name for column in self._columns)
        values = ", ".join(f"{column.read} AS {column.name}" for column in columns)
        odd = " || ".join(
            f"CASE WHEN {column.rule} THEN '' ELSE ' {column.name}' END" for column in columns
        )
        rules = " AND ".join([f"id BETWEEN 1 AND {MAX_ID}", *(column.rule for column in columns)])
        known = {
            "insert": f"INSERT INTO {self.table} (id, {names}) VALUES (?{', ?' * len(columns)})",
            "values_of": attrgetter(*(column.name for column in columns)),
            "names": names,
            "values": values,
            "rules": rules,
            "plain": f"SELECT id, {names}, CASE WHEN {rules} THEN '' END "
            f"FROM {self.table} WHERE id = ?",
            "careful": f"SELECT id, {values}, {odd} FROM {self.table} WHERE id = :id",
            "fields": ("id", *(column.name for column in columns), "odd"),
            "oldest": f"SELECT min(pushed_at) FROM {self.table} "
            f"WHERE pushed_at BETWEEN 0 AND {_MOST}",
        }
        for name, text in known.items():
            object.__setattr__(self, name, text)

    def read(self, name: str) -> str:
        """
        Make the expression for the value of one of them.
        """
        return next(column.read for column in self._columns if column.name == name)


RECORDS: Final = Columns(
    "records",
    (
        _text("event_id"),
        _time("pushed_at"),
        _number("tried_for", "real", 0, _MOST, "0.0"),
        _number("seq", "integer", 0, str(MAX_ID), "0"),
        _optional(_text("session_id")),
        _optional(_blob("session")),
        _blob("data"),
        _ROUTE,
    ),
)
LETTERS: Final = Columns(
    "letters",
    (
        _text("event_id"),
        _time("pushed_at"),
        _time("died_at"),
        _text("outcome"),
        _text("reason"),
        _optional(_number("status", "integer", 100, "999", "NULL")),
        _text("answer"),
        _blob("data"),
        _ROUTE,
    ),
)
