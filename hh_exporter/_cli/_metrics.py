"""
The numbers of a relay for Prometheus.

All numbers of one scrape are of one instant, so they balance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from hh_exporter._cli._errors import CallError

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

    from hh_exporter._fleet.books import RelayStats

__all__ = ["serve_metrics"]

_Kind: TypeAlias = Literal["counter", "gauge"]

_HEALTH: Final = ("ok", "starting", "retrying", "suspended", "degraded", "closed")

# fmt: off
_NUMBERS: Final[tuple[tuple[str, _Kind, Callable[[RelayStats], float], str], ...]] = (
    ("recovered", "counter", lambda s: s.recovered, "Messages taken from the stream."),
    ("delivered", "counter", lambda s: s.delivered, "Events that the API has."),
    ("rejected", "counter", lambda s: s.rejected, "Events that the API refused."),
    ("dropped", "counter", lambda s: s.dropped, "Events given up."),
    ("returned", "counter", lambda s: s.returned, "Messages given back to the stream."),
    ("redelivered", "counter", lambda s: s.redelivered,
     "Messages that had been given out before."),
    ("repeated", "counter", lambda s: s.repeated, "Acknowledgements that had to be repeated."),
    ("dead_letters", "counter", lambda s: s.dead_letters, "Dead letters that were stored."),
    ("requests", "counter", lambda s: s.books.requests, "Requests to the API."),
    ("queued", "gauge", lambda s: s.queued, "Events in memory, not taken by a delivery."),
    ("in_flight", "gauge", lambda s: s.in_flight, "Events taken by a delivery."),
    ("unconfirmed", "gauge", lambda s: s.unconfirmed, "Acknowledgements not confirmed yet."),
    ("letters_waiting", "gauge", lambda s: s.letters_waiting, "Dead letters not stored yet."),
    ("in_hand", "gauge", lambda s: s.in_hand, "Messages in hand."),
    ("backlog", "gauge", lambda s: s.backlog or 0,
     "Messages of the stream that no relay of the dialect has delivered."),
    ("oldest_in_stream_seconds", "gauge", lambda s: s.oldest_in_stream,
     "Time since the oldest message of the stream was published."),
)
# fmt: on


def serve_metrics(stats: Callable[[], RelayStats], host: str, port: int) -> Callable[[], None]:
    """
    Serve the numbers of *stats* over HTTP, in a thread.

    Returns:
        What ends that.

    Raises:
        CallError: prometheus_client is not installed, or the port can't be had.
    """
    try:
        from prometheus_client import CollectorRegistry, start_http_server
        from prometheus_client.registry import Collector
    except ModuleNotFoundError:
        raise CallError('--metrics needs the extra "prometheus"') from None

    class RelayCollector(Collector):
        def collect(self) -> Iterable[Metric]:
            return _families(stats())

        def describe(self) -> Iterable[Metric]:
            return ()

    registry = CollectorRegistry()
    registry.register(RelayCollector())
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as exc:
        raise CallError(f"--metrics can't listen on {host}:{port} ({exc.strerror})") from None

    def end() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return end


def _families(stats: RelayStats) -> Iterable[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    for name, kind, read, text in _NUMBERS:
        of_kind = CounterMetricFamily if kind == "counter" else GaugeMetricFamily
        yield of_kind(f"hh_exporter_relay_{name}", text, value=read(stats))
    health = GaugeMetricFamily(
        "hh_exporter_relay_health", "1 for the present state.", labels=["state"]
    )
    for word in _HEALTH:
        health.add_metric([word], int(word == stats.health))
    yield health
