"""
What OpenTelemetry is told of exporters.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, Metric, Sum

from hh_exporter import ConfigError, DropReason, Exporter
from hh_exporter.integrations.opentelemetry import ExporterInstruments
from tests.conftest import MakeExporter
from tests.life.test_forks import forked
from tests.scripted_server import ScriptedServer, hang, reset_before_storing, status
from tests.support import FakeClock, flushed, model_event, push_all, until


class Readings:
    """
    Collects what instruments say at the moment.
    """

    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        self.provider = MeterProvider([self._reader])

    def metrics(self) -> dict[str, Metric]:
        data = self._reader.get_metrics_data()
        resources = [] if data is None else data.resource_metrics
        found = [m for r in resources for s in r.scope_metrics for m in s.metrics]
        return {metric.name: metric for metric in found if metric.data.data_points}

    def values(self, name: str) -> list[tuple[dict[str, Any], float]]:
        """
        List what is said under *name* of the exporter "main", by its other attributes.
        """
        points: Any = self.metrics()[f"hh_exporter.{name}"].data.data_points
        named = [(dict(point.attributes), point.value) for point in points]
        return [(a, value) for a, value in named if a.pop("hh_exporter.name") == "main"]

    def value(self, name: str) -> float:
        [(attributes, value)] = self.values(name)
        assert not attributes
        return value


@pytest.fixture
def readings() -> Iterator[Readings]:
    readings = Readings()
    yield readings
    readings.provider.shutdown()


@pytest.fixture
def watched(exporter: Exporter, readings: Readings) -> Exporter:
    ExporterInstruments(exporter, name="main", meter_provider=readings.provider)
    return exporter


async def test_a_collection_tells_what_became_of_events(
    watched: Exporter, readings: Readings
) -> None:
    """
    Each outcome has its instrument, and each reason to drop its attribute.
    """
    push_all(watched, "a", "b")
    watched.push(model_event(duration="long"))
    await watched.flush()
    push_all(watched, "c")

    assert readings.value("event.pushed") == 4
    assert readings.value("event.delivered") == 2
    assert readings.value("queue.size") == 1
    assert readings.value("queue.capacity") == 50_000
    dropped = {a["hh_exporter.reason"]: n for a, n in readings.values("event.dropped")}
    assert dropped == {reason.value: 0 for reason in DropReason} | {"invalid": 1}


async def test_requests_are_told_as_other_clients_tell_theirs(
    watched: Exporter, server: ScriptedServer, clock: FakeClock, readings: Readings
) -> None:
    """
    An answer has its status as a number, the lack of one is an error.
    """
    server.script(status(503), reset_before_storing())
    push_all(watched, "a")
    await flushed(watched, clock)

    ended = readings.values("request.ended")
    assert ended == [
        ({"http.response.status_code": 503}, 1),
        ({"error.type": "no_answer"}, 1),
        ({"http.response.status_code": 200}, 1),
    ]
    assert readings.value("request.started") == 3
    assert readings.value("request.retried") == 2


async def test_the_time_of_requests_is_told(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock, readings: Readings
) -> None:
    """
    Over the number of requests that ended it is their mean.
    """
    exporter = await make_exporter(request_timeout=3.0)
    ExporterInstruments(exporter, name="main", meter_provider=readings.provider)
    server.script(hang())
    push_all(exporter, "a")
    await clock.advance(1.0)
    await until(lambda: server.requests)
    await clock.advance(3.0)
    await flushed(exporter, clock)

    assert readings.value("request.time") == 3.0


async def test_health_is_one_of_its_words(watched: Exporter, readings: Readings) -> None:
    """
    Of all words one is 1, and it is that of stats().
    """
    words = {a["hh_exporter.state"]: value for a, value in readings.values("health")}

    assert words == dict.fromkeys(words, 0) | {"ok": 1}
    assert len(words) == 6


async def test_what_only_grows_is_monotonic(watched: Exporter, readings: Readings) -> None:
    """
    A backend can make a rate of a counter, and adds up what is in queues.
    """
    sums = {name: m.data for name, m in readings.metrics().items() if isinstance(m.data, Sum)}

    assert sums["hh_exporter.event.pushed"].is_monotonic
    assert not sums["hh_exporter.queue.size"].is_monotonic


async def test_exporters_are_told_apart_by_name(
    make_exporter: MakeExporter, readings: Readings
) -> None:
    """
    The same instruments tell of several exporters, each under its own name.
    """
    one, other = await make_exporter(), await make_exporter()
    instruments = ExporterInstruments(one, meter_provider=readings.provider)
    instruments.add(other, name="main")
    push_all(one, "a")
    push_all(other, "b", "c")

    assert readings.value("event.pushed") == 2
    assert len(readings.metrics()["hh_exporter.event.pushed"].data.data_points) == 2


async def test_a_name_is_of_one_exporter(make_exporter: MakeExporter, readings: Readings) -> None:
    """
    A second exporter of the same name is refused.
    """
    instruments = ExporterInstruments(
        await make_exporter(), name="main", meter_provider=readings.provider
    )

    with pytest.raises(ConfigError, match="'main'"):
        instruments.add(await make_exporter(), name="main")


async def test_another_thread_may_collect(watched: Exporter, readings: Readings) -> None:
    """
    As the SDK's own readers do, it is read from a thread of theirs.
    """
    push_all(watched, "a")

    assert await asyncio.to_thread(readings.value, "event.pushed") == 1


def test_an_exporter_that_is_gone_is_not_told_of(readings: Readings) -> None:
    """
    Instruments keep no exporter alive, and say nothing then.
    """
    ExporterInstruments(Exporter(disabled=True), meter_provider=readings.provider)
    gc.collect()

    assert readings.metrics() == {}


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
async def test_a_forked_child_tells_of_its_own_events(
    watched: Exporter, readings: Readings
) -> None:
    """
    What the parent pushed is the parent's to tell.
    """
    push_all(watched, "a")

    def push_in_child() -> list[float]:
        before = readings.value("event.pushed")
        push_all(watched, "b", "c")
        return [before, readings.value("event.pushed")]

    assert await forked(push_in_child) == [0, 2]
    assert readings.value("event.pushed") == 1
