"""
Exporters in OpenTelemetry: observable instruments of one meter.

The SDK reads each instrument by itself, so the numbers of one collection are of slightly
different instants.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation, get_meter

from hh_exporter import Exporter
from hh_exporter._version import __version__
from hh_exporter.integrations._metrics import METRICS, Exporters, Key, Metric

__all__ = ["ExporterInstruments"]

_REQUEST_TIME = Metric(
    "request.time", "counter", "s", lambda s: s.request_seconds, "Time that requests took in all."
)
"""OpenTelemetry has no observable histogram; divided by `request.ended` this is the mean."""


class ExporterInstruments:
    """
    Have OpenTelemetry read the `stats()` of exporters at each collection.

    Make one for a meter provider. It holds exporters weakly, and stops reporting one that was
    garbage-collected.

    Args:
        exporter: The first exporter.
        name: The value of its attribute `hh_exporter.name`.
        meter_provider: Where the instruments belong; default: the global one.
    """

    def __init__(
        self,
        exporter: Exporter | None = None,
        *,
        name: str = "default",
        meter_provider: MeterProvider | None = None,
    ) -> None:
        self._exporters = Exporters()
        if exporter is not None:
            self.add(exporter, name=name)
        meter = get_meter("hh_exporter", __version__, meter_provider)
        create = {
            "counter": meter.create_observable_counter,
            "updown": meter.create_observable_up_down_counter,
            "gauge": meter.create_observable_gauge,
        }
        for metric in (*METRICS, _REQUEST_TIME):
            observe = partial(self._observe, metric)
            create[metric.kind](f"hh_exporter.{metric.name}", [observe], metric.unit, metric.text)

    def add(self, exporter: Exporter, *, name: str) -> None:
        """
        Report *exporter*, too.

        Raises:
            ConfigError: Another exporter has the name.
        """
        self._exporters.add(exporter, name)

    def _observe(self, metric: Metric, _: CallbackOptions) -> Iterator[Observation]:
        for name, stats in self._exporters.read():
            for key, value in metric.values(stats):
                yield Observation(value, {"hh_exporter.name": name, **_attributes(metric, key)})


def _attributes(metric: Metric, key: Key) -> dict[str, str | int]:
    if not metric.attribute:
        return {}
    return {"error.type": "no_answer"} if key is None else {metric.attribute: key}
