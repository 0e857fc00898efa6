"""
What is measured of exporters, for any metrics library.

One table, named as OpenTelemetry names metrics; each number is read from `stats()` when the
library asks for it. Exporters are held weakly: to measure one does not keep it alive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Literal, TypeAlias
from weakref import ref

from attrs import Factory, define, frozen

from hh_exporter import ConfigError, DropReason, Exporter, Stats

__all__ = ["METRICS", "Exporters", "Key", "Metric"]

Key: TypeAlias = str | int | None
"""Distinguishes the numbers of one metric; None if there is only one, or no answer came."""

_HEALTH: Final = ("ok", "starting", "retrying", "suspended", "degraded", "closed")
_BREAKER: Final = ("closed", "open", "half_open", "suspended")


@frozen
class Metric:
    """
    A number of an exporter, or several that an attribute tells apart.
    """

    name: str
    kind: Literal["counter", "updown", "gauge"]
    """Whether it only grows, can be added up over exporters, or neither."""
    unit: str
    """In UCUM; what is counted stands in braces."""
    read: Callable[[Stats], Mapping[Any, float] | float]
    text: str
    attribute: str = ""
    """What the keys are, where `read` gives several numbers by their keys."""

    def values(self, stats: Stats) -> Iterator[tuple[Key, float]]:
        """
        List the numbers that *stats* has of it, by their keys.
        """
        found = self.read(stats)
        yield from found.items() if isinstance(found, Mapping) else ((None, found),)


def _dropped(stats: Stats) -> dict[str, int]:
    # Zeros too: a series that begins with its first drop does not show that drop as a rise.
    return {reason.value: stats.dropped_by_reason.get(reason, 0) for reason in DropReason}


def _one_of(words: tuple[str, ...], word: str) -> dict[str, int]:
    return {each: int(each == word) for each in (*words, word)}


# fmt: off
METRICS: Final = (
    Metric("event.pushed", "counter", "{event}", lambda s: s.pushed, "Events pushed."),
    Metric("event.recovered", "counter", "{event}", lambda s: s.recovered,
           "Events taken over from disk."),
    Metric("event.delivered", "counter", "{event}", lambda s: s.delivered,
           "Events that the server has."),
    Metric("event.relayed", "counter", "{event}", lambda s: s.relayed,
           "Events that a stream has, for a relay to deliver."),
    Metric("event.rejected", "counter", "{event}", lambda s: s.rejected,
           "Events that the server refused."),
    Metric("event.dropped", "counter", "{event}", _dropped,
           "Events given up.", "hh_exporter.reason"),
    Metric("event.duplicate", "counter", "{event}", lambda s: s.duplicates,
           "Events that the stream had already when they were published again."),
    Metric("event.in_flight", "updown", "{event}", lambda s: s.in_flight,
           "Events taken by a delivery and without an outcome."),
    Metric("event.spooled", "updown", "{event}", lambda s: s.spooled,
           "Events on disk and not in memory."),
    Metric("event.oldest_age", "gauge", "s", lambda s: s.oldest_age,
           "Time since the oldest event without an outcome was pushed."),
    Metric("queue.size", "updown", "{event}", lambda s: s.queued,
           "Events in memory and not taken by a delivery."),
    Metric("queue.capacity", "updown", "{event}", lambda s: s.capacity,
           "Events that memory takes, queued and in flight."),
    Metric("memory.usage", "updown", "By",
           lambda s: {"queued": s.queued_bytes, "in_flight": s.in_flight_bytes,
                      "body": s.body_bytes},
           "Bytes of the events and request bodies in memory.", "hh_exporter.state"),
    Metric("memory.limit", "updown", "By", lambda s: s.capacity_bytes,
           "Bytes of events and request bodies that memory takes."),
    Metric("spool.usage", "updown", "By", lambda s: s.spooled_bytes,
           "Bytes of the spool's events and dead letters."),
    Metric("spool.dead_letters", "updown", "{event}", lambda s: s.dead_letters,
           "Rejected and dropped events that the spool keeps."),
    Metric("spool.stranded", "updown", "{event}", lambda s: s.stranded,
           "Events on disk that are of another key, address or dialect."),
    Metric("spool.lag", "gauge", "s", lambda s: s.commit_lag,
           "Time that the oldest event not yet written by the spool has waited for it."),
    Metric("request.started", "counter", "{request}", lambda s: s.requests, "Requests begun."),
    Metric("request.retried", "counter", "{request}", lambda s: s.retries,
           "Requests that repeated one which failed in passing."),
    Metric("request.limit", "updown", "{request}", lambda s: s.in_flight_limit,
           "Requests that may be in flight at once now, at most `max_in_flight`."),
    Metric("request.ended", "counter", "{request}", lambda s: s.requests_by_status,
           "Requests that ended.", "http.response.status_code"),
    Metric("health", "updown", "{exporter}", lambda s: _one_of(_HEALTH, s.health),
           "1 for the one word that says how the exporter is.", "hh_exporter.state"),
    Metric("breaker", "updown", "{exporter}", lambda s: _one_of(_BREAKER, s.breaker),
           "1 for the one word that says whether anything may be sent.", "hh_exporter.state"),
)
# fmt: on
"""All but how long requests took, which each library has its own form for."""


@define(eq=False)
class Exporters:
    """
    Exporters by name, held weakly.
    """

    _refs: dict[str, ref[Exporter]] = Factory(dict)

    def add(self, exporter: Exporter, name: str) -> None:
        """
        Measure *exporter*, too.

        Raises:
            ConfigError: Another one has the name.
        """
        known = self._refs.get(name, lambda: None)()
        if known is not None and known is not exporter:
            raise ConfigError(f"name must be of one exporter, and another is called {name!r}")
        self._refs[name] = ref(exporter)

    def read(self) -> list[tuple[str, Stats]]:
        """
        Read the statistics of those that still exist. Any thread.
        """
        # Copied in one step, as another thread may add one.
        found = [(name, known()) for name, known in self._refs.copy().items()]
        return [(name, exporter.stats()) for name, exporter in found if exporter is not None]
