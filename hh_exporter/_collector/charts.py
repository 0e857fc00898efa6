"""
Numbers of what is in the database: over time, by value, and in total.

All are computed in SQL. Percentiles follow the nearest-rank method, so that each is
the duration of an event.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

from attrs import evolve, frozen

from hh_exporter._collector.filters import EVERYTHING, Filter, Sql
from hh_exporter._collector.lists import (
    WITH_TEXTS,
    count,
    examined_from,
    last_event,
    last_session,
    select,
)
from hh_exporter._collector.reader import TooMuchError

if TYPE_CHECKING:
    import sqlite3

__all__ = ["MAX_BUCKETS", "Buckets", "facets", "series", "stats"]

Json: TypeAlias = dict[str, Any]

MAX_BUCKETS: Final = 1000
_SEARCHED_BYTES: Final = 64 * 2**20
_TOP_MODELS: Final = 8
_TOP_VALUES: Final = 100
_RECENT_ROWS: Final = 100_000
_REST: Final = "other"

_PARTS: Final = "FILTER (WHERE type <> 'session')"  # which has the sums of its events
_SUMS: Final = {
    "count": "count(*)",
    "errors": "count(nullif(error, 'cancelled'))",
    **{name: f"CAST(total({name}) {_PARTS} AS INTEGER)" for name in ("tokens_in", "tokens_out")},
    "cost": f"total(cost) {_PARTS}",
}
_PERCENTILES: Final = {"p50": 50, "p95": 95}

_PER_BUCKET: Final = "SELECT bucket, place, {columns} FROM ({rows}) GROUP BY bucket, place"
_RANKED: Final = """
    SELECT bucket, place, duration,
        row_number() OVER (PARTITION BY bucket, place ORDER BY duration) AS rank,
        count(*) OVER (PARTITION BY bucket, place) AS of
    FROM ({rows}) WHERE duration IS NOT NULL AND type <> 'session'
"""


@frozen
class Buckets:
    """
    A stretch of time and the equal parts that it is cut into, in Unix milliseconds.
    """

    since: int
    until: int
    """The end, which is not part of it."""
    step: int

    @property
    def times(self) -> range:
        """
        When each part begins.
        """
        return range(self.since, self.until, self.step)


def series(
    db: sqlite3.Connection, wanted: Filter, buckets: Buckets, *, by_model: bool
) -> list[Json]:
    """
    Count events, tokens, cost and time for each bucket, in one group or for each model.

    Raises `TooMuchError` if more text would have to be searched than can be.
    """
    wanted = evolve(wanted, since=buckets.since, until=buckets.until)
    _check_texts(db, wanted)
    source = "events" if wanted.text is None else WITH_TEXTS
    chosen = wanted.columns() & wanted.texts()
    models = _top_models(db, source, chosen) if by_model else []
    names = [*models, _REST] if by_model else [None]
    rows = Sql(
        f"SELECT (time - ?) / ? AS bucket, {_place(len(models))} AS place, events.* "  # noqa: S608
        f"FROM {source} WHERE {chosen.condition}",
        (buckets.since, buckets.step, *models, *chosen.parameters),
    )
    groups = [_empty(name, len(buckets.times)) for name in names]
    _fill(groups, db, _SUMS, rows)
    _fill(
        groups,
        db,
        {
            name: f"min(duration) FILTER (WHERE 100 * rank >= {percent} * of)"
            for name, percent in _PERCENTILES.items()
        },
        Sql(_RANKED.format(rows=rows.condition), rows.parameters),
    )
    return [group for group in groups if group["name"] != _REST or any(group["count"])]


def facets(db: sqlite3.Connection) -> Json:
    """
    Count the values to choose from, the most frequent first, among recent events and sessions.
    """
    recent = Sql("id > ?", (last_event(db) - _RECENT_ROWS,))
    recent_sessions = Sql("id > ?", (last_session(db) - _RECENT_ROWS,))
    columns = ("type", "model", "provider", "source", "name", "user")
    return {
        **{f"{column}s": _counted(db, "events", column, recent) for column in columns},
        "sessions": _counted(db, "sessions", "name", recent_sessions),
    }


def stats(db: sqlite3.Connection) -> Json:
    """
    Say how much there is, since when, and of which database that is.
    """
    oldest, newest, size, store = db.execute(
        "SELECT (SELECT min(time) FROM events), (SELECT max(time) FROM events), "
        "page_count * page_size, (SELECT value FROM meta WHERE name = 'store') "
        "FROM pragma_page_count, pragma_page_size"
    ).fetchone()
    return {
        "events": count(db),
        "oldest": oldest,
        "newest": newest,
        "bytes": size,
        "store": store,
    }


def _check_texts(db: sqlite3.Connection, wanted: Filter) -> None:
    if wanted.text is None:
        return
    times = evolve(EVERYTHING, since=wanted.since, until=wanted.until).columns()
    first, last = select(db, "min(id), max(id)", "events", times).fetchone()
    if first is not None and examined_from(db, wanted, first, last, _SEARCHED_BYTES) > first:
        raise TooMuchError("text: there is too much to search for a chart: choose a shorter range")


def _top_models(db: sqlite3.Connection, source: str, chosen: Sql) -> list[str]:
    named = chosen & Sql("model <> ?", (_REST,))
    rest = f"GROUP BY model ORDER BY count(*) DESC, model LIMIT {_TOP_MODELS}"
    return [model for (model,) in select(db, "model", source, named, rest)]


def _place(models: int) -> str:
    """
    Say in SQL which group a row is of: its model's place in the list, or the one after.
    """
    cases = " ".join(f"WHEN ? THEN {place}" for place in range(models))
    return f"CASE model {cases} ELSE {models} END" if models else "0"


def _empty(name: str | None, length: int) -> Json:
    sums = {key: [0] * length for key in _SUMS}
    return {"name": name, **sums, **{key: [None] * length for key in _PERCENTILES}}


def _fill(groups: list[Json], db: sqlite3.Connection, columns: dict[str, str], rows: Sql) -> None:
    query = _PER_BUCKET.format(columns=", ".join(columns.values()), rows=rows.condition)
    for bucket, place, *values in db.execute(query, rows.parameters):
        for key, value in zip(columns, values, strict=True):
            groups[place][key][bucket] = value


def _counted(db: sqlite3.Connection, table: str, column: str, recent: Sql) -> list[Json]:
    named = recent & Sql(f"{column} IS NOT NULL")
    rest = f"GROUP BY {column} ORDER BY count(*) DESC, {column} LIMIT {_TOP_VALUES}"
    rows = select(db, f"{column}, count(*)", table, named, rest)
    return [{"value": value, "count": count} for value, count in rows]
