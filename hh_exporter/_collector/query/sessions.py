"""
GET /api/sessions: a row for each session, with totals of its events, in any order.

A session is listed if one of its events matches. Its totals are of all its events, except
those that already add up others (see `lists.CALLS`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from attrs import evolve, frozen

from hh_exporter._collector.query.search import choose
from hh_exporter._collector.query.sorting import Mark, Order, pick
from hh_exporter._collector.storage.filters import EVERYTHING, Filter, Sql
from hh_exporter._collector.storage.lists import CALLS, STEPS

if TYPE_CHECKING:
    import sqlite3

__all__ = ["NEWEST_FIRST", "SESSION_KEYS", "Sessions", "grouped"]

SESSION_KEYS: Final = ("name", "user", "events", "tokens", "cost", "errors", "duration", "last")
"""What sessions can be ordered by."""
NEWEST_FIRST: Final = Order("last", is_descending=True)

_TOKENS: Final = "coalesce(tokens_in + tokens_out, tokens_in, tokens_out)"
_FIGURES: Final = f"""
    SELECT session_id AS short_id, count(*) AS events, min(user) AS user,
        CASE WHEN count({_TOKENS}) {CALLS} THEN CAST(total({_TOKENS}) {CALLS} AS INTEGER) END
            AS tokens,
        CASE WHEN count(cost) {CALLS} THEN total(cost) {CALLS} END AS cost,
        count(nullif(error, 'cancelled')) AS errors,
        max(start + coalesce(duration, 0)) {STEPS} - min(start) {STEPS} AS duration,
        min(start) AS start, max(time) AS last
    FROM events WHERE {{}} GROUP BY session_id
"""  # noqa: S608 - all ours
_ROWS: Final = f"""
    SELECT sessions.id AS id, sessions.session_id AS session_id, name,
        coalesce(sessions.user, figures.user) AS user, events, tokens, cost, errors, duration,
        start, last
    FROM ({_FIGURES}) AS figures JOIN sessions USING (short_id)
"""  # noqa: S608 - all ours
_EMPTY: Final = """
    SELECT id, session_id, name, user, 0, NULL, NULL, 0, NULL, time, time FROM sessions
    WHERE NOT has_events AND time >= ? AND time < ?
"""


@frozen
class Sessions:
    """
    Some of the sessions that were asked for, in the order that was asked for.
    """

    sessions: list[dict[str, Any]]
    next: str | None
    """The mark after which to go on; None at the end."""
    searched_from: int | None
    """As `search.Chosen` has it."""


def grouped(
    db: sqlite3.Connection,
    wanted: Filter,
    order: Order,
    limit: int,
    *,
    before: Mark | None = None,
) -> Sessions:
    """
    Read the first sessions of those that come after the mark *before*.

    One that was started and has no event yet is listed by its own time, unless more is
    asked for than a time.
    """
    chosen = choose(db, wanted)
    theirs = chosen.sql
    if wanted != EVERYTHING:
        theirs = Sql(
            "session_id IN (SELECT events.session_id FROM events "  # noqa: S608 - all ours
            f"WHERE {chosen.sql.condition})",
            chosen.sql.parameters,
        )
    rows = Sql(_ROWS.format(theirs.condition), theirs.parameters)
    if evolve(wanted, since=None, until=None) == EVERYTHING:
        since, until = wanted.since or 0, wanted.until
        times = (since, 2**63 - 1 if until is None else until)
        rows = Sql(f"{rows.condition} UNION ALL {_EMPTY}", rows.parameters + times)
    found, following = pick(db, rows, order, limit, before)
    for row in found:
        del row["id"]
    return Sessions(found, following, chosen.searched_from)
