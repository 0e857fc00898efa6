"""
Exporters in Prometheus: a collector for a registry of prometheus_client.

All numbers of an exporter in one scrape are of one instant, so its events add up.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from hh_exporter import Exporter, Stats
from hh_exporter.integrations._metrics import METRICS, Exporters, Key, Metric

__all__ = ["ExporterCollector"]

_UNITS = {"By": "_bytes", "s": "_seconds"}


class ExporterCollector(Collector):
    """
    Export the `stats()` of exporters at each scrape.

    Register one: `REGISTRY.register(ExporterCollector(exporter))`. It holds exporters weakly,
    and stops exporting one that was garbage-collected.

    Args:
        exporter: The first exporter.
        name: The value of its label `exporter`.
    """

    def __init__(self, exporter: Exporter | None = None, *, name: str = "default") -> None:
        self._exporters = Exporters()
        if exporter is not None:
            self.add(exporter, name=name)

    def add(self, exporter: Exporter, *, name: str) -> None:
        """
        Export *exporter*, too.

        Raises:
            ConfigError: Another exporter has the name.
        """
        self._exporters.add(exporter, name)

    def collect(self) -> Iterable[Family]:
        """
        Read the exporters now. Any thread.
        """
        read = self._exporters.read()
        return _families(read) if read else ()

    def describe(self) -> Iterable[Family]:
        """
        List the metrics without values, so that the registry reserves their names.
        """
        return _families(())


def _families(read: Sequence[tuple[str, Stats]]) -> Iterable[Family]:
    for metric in METRICS:
        of_kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
        names = ["exporter", metric.attribute.rpartition(".")[2]]
        family = of_kind(_name_of(metric), metric.text, labels=names[: 1 + bool(names[1])])
        for name, stats in read:
            for key, value in metric.values(stats):
                labels = [name, _label(key)] if metric.attribute else [name]
                family.add_metric(labels, value)
        yield family
    durations = HistogramMetricFamily(
        "hh_exporter_request_duration_seconds", "How long requests took.", labels=["exporter"]
    )
    for name, stats in read:
        buckets = [
            ("+Inf" if bound == inf else str(bound), count)
            for bound, count in stats.request_durations.items()
        ]
        durations.add_metric([name], buckets, stats.request_seconds)
    yield durations


def _name_of(metric: Metric) -> str:
    """
    Derive the name as OpenTelemetry's Prometheus exporters do; a counter gets its `_total` there.
    """
    return f"hh_exporter_{metric.name.replace('.', '_')}{_UNITS.get(metric.unit, '')}"


def _label(key: Key) -> str:
    return "none" if key is None else str(key)
