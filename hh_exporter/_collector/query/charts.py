"""
Statistics of stored events: over time, by value, and in total.

Sums are computed in SQL. Percentiles follow the nearest-rank method, so that each is
the duration of an event.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from attrs import evolve, frozen

from hh_exporter._collector.query.search import choose
from hh_exporter._collector.storage.filters import Filter, Sql
from hh_exporter._collector.storage.lists import CALLS, count, last_event, last_session, select

if TYPE_CHECKING:
    import sqlite3

__all__ = ["MAX_BUCKETS", "Buckets", "facets", "series", "stats", "totals"]

Json: TypeAlias = dict[str, Any]

MAX_BUCKETS: Final = 1000
_TOP_MODELS: Final = 8
_TOP_VALUES: Final = 100
_RECENT_ROWS: Final = 100_000
_REST: Final = "other"

_FAILED: Final = "nullif(error, 'cancelled')"
_SUMS: Final = {
    "count": "count(*)",
    "errors": f"count({_FAILED})",
    **{name: f"CAST(total({name}) {CALLS} AS INTEGER)" for name in ("tokens_in", "tokens_out")},
    "cost": f"total(cost) {CALLS}",
}
_PERCENTILES: Final = {"p50": 50, "p95": 95}
_ENDS: Final = {"oldest": "min(time)", "newest": "max(time)"}

_PER_BUCKET: Final = "SELECT bucket, place, {columns} FROM ({rows}) GROUP BY bucket, place"
_TIMED: Final = "duration IS NOT NULL AND type <> 'session'"
_DURATIONS: Final = f"SELECT bucket, place, duration FROM ({{rows}}) WHERE {_TIMED}"  # noqa: S608


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


def series(db: sqlite3.Connection, wanted: Filter, buckets: Buckets, *, by_model: bool) -> Json:
    """
    Count events, tokens, cost and time for each bucket, in one group or for each model.
    """
    chosen = choose(db, evolve(wanted, since=buckets.since, until=buckets.until))
    models = _named_models(db, chosen.sql) if by_model else []
    names = [*models, _REST] if by_model else [None]
    rows = Sql(
        f"SELECT (time - ?) / ? AS bucket, {_place(len(models))} AS place, events.* "  # noqa: S608
        f"FROM events WHERE {chosen.sql.condition}",
        (buckets.since, buckets.step, *models, *chosen.sql.parameters),
    )
    groups = [_empty(name, len(buckets.times)) for name in names]
    _fill(groups, db, rows)
    groups = [group for group in groups if group["name"] != _REST or any(group["count"])]
    return {"groups": groups, "searched_from": chosen.searched_from}


def totals(db: sqlite3.Connection, wanted: Filter) -> Json:
    """
    Sum up what is *wanted*, and say when the first and the last of it arrived.
    """
    chosen = choose(db, wanted)
    sums = _SUMS | _ENDS
    row = select(db, ", ".join(sums.values()), "events", chosen.sql).fetchone()
    summed = dict(zip(sums, row, strict=True))
    durations = select(db, "duration", "events", chosen.sql & Sql(_TIMED))
    return {
        "events": summed.pop("count"),
        **summed,
        **_percentiles(array("d", chain.from_iterable(durations))),
        "searched_from": chosen.searched_from,
    }


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


def _named_models(db: sqlite3.Connection, chosen: Sql) -> list[str]:
    """
    List the models that get a group of their own: the most frequent, and the one that fails most.
    """
    named = chosen & Sql("model <> ?", (_REST,))
    rest = "GROUP BY model ORDER BY count(*) DESC, model LIMIT {}"
    models = [model for (model,) in select(db, "model", "events", named, rest.format(_TOP_MODELS))]
    failed = named & Sql(f"{_FAILED} IS NOT NULL")
    for (model,) in select(db, "model", "events", failed, rest.format(1)):
        if model not in models:
            models[-1] = model
    return models


def _place(models: int) -> str:
    """
    Say in SQL which group a row is of: its model's place in the list, or the one after.
    """
    cases = " ".join(f"WHEN ? THEN {place}" for place in range(models))
    return f"CASE model {cases} ELSE {models} END" if models else "0"


def _empty(name: str | None, length: int) -> Json:
    sums = {key: [0] * length for key in _SUMS}
    return {"name": name, **sums, **{key: [None] * length for key in _PERCENTILES}}


def _fill(groups: list[Json], db: sqlite3.Connection, rows: Sql) -> None:
    """
    Set the sums and the percentiles of *rows* at their buckets of their groups.
    """
    query = _PER_BUCKET.format(columns=", ".join(_SUMS.values()), rows=rows.condition)
    for bucket, place, *values in db.execute(query, rows.parameters):
        for key, value in zip(_SUMS, values, strict=True):
            groups[place][key][bucket] = value
    durations: defaultdict[tuple[int, int], array[float]] = defaultdict(lambda: array("d"))
    query = _DURATIONS.format(rows=rows.condition)
    for bucket, place, duration in db.execute(query, rows.parameters):
        durations[bucket, place].append(duration)
    for (bucket, place), found in durations.items():
        for key, value in _percentiles(found).items():
            groups[place][key][bucket] = value


def _percentiles(durations: array[float]) -> dict[str, float | None]:
    # SQLite's window functions take three times as long, and an array eight bytes for each.
    ranked = sorted(durations)
    return {
        name: ranked[-(-percent * len(ranked) // 100) - 1] if ranked else None
        for name, percent in _PERCENTILES.items()
    }


def _counted(db: sqlite3.Connection, table: str, column: str, recent: Sql) -> list[Json]:
    named = recent & Sql(f"{column} IS NOT NULL")
    rest = f"GROUP BY {column} ORDER BY count(*) DESC, {column} LIMIT {_TOP_VALUES}"
    rows = select(db, f"{column}, count(*)", table, named, rest)
    return [{"value": value, "count": count} for value, count in rows]
