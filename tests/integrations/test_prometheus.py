"""
What Prometheus is told of exporters.
"""

from __future__ import annotations

import asyncio
import gc
import threading
from math import inf

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from hh_exporter import ConfigError, DropReason, Exporter
from hh_exporter.integrations.prometheus import ExporterCollector
from tests.conftest import BuildExporter, MakeExporter
from tests.life.test_forks import forked
from tests.scripted_server import ScriptedServer, reset_before_storing, status
from tests.support import FakeClock, flushed, model_event, push_all, until

MAIN = {"exporter": "main"}


class Scrape:
    """
    The text of one scrape, read as Prometheus reads it.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.text = generate_latest(registry).decode()
        self.families = list(text_string_to_metric_families(self.text))

    def value(self, name: str, **labels: str) -> float | None:
        """
        Find the number of *name* with *labels*, and the exporter "main" unless they say another.
        """
        wanted = MAIN | labels
        found = [s.value for f in self.families for s in f.samples if s[:2] == (name, wanted)]
        assert len(found) < 2
        return found[0] if found else None

    def series(self, name: str, label: str) -> dict[str, float]:
        """
        List the numbers of *name* by what they have for *label*.
        """
        samples = [s for family in self.families for s in family.samples if s.name == name]
        return {s.labels[label]: s.value for s in samples}


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry(auto_describe=True)


@pytest.fixture
def watched(exporter: Exporter, registry: CollectorRegistry) -> Exporter:
    registry.register(ExporterCollector(exporter, name="main"))
    return exporter


async def test_a_scrape_tells_what_became_of_events(
    watched: Exporter, server: ScriptedServer, registry: CollectorRegistry
) -> None:
    """
    Each outcome has its counter, and each reason to drop its own.
    """
    push_all(watched, "a", "b")
    watched.push(model_event(duration="long"))
    await watched.flush()
    push_all(watched, "c")

    scrape = Scrape(registry)
    assert scrape.value("hh_exporter_event_pushed_total") == 4
    assert scrape.value("hh_exporter_event_delivered_total") == 2
    assert scrape.value("hh_exporter_event_dropped_total", reason="invalid") == 1
    assert scrape.value("hh_exporter_queue_size") == 1
    assert scrape.value("hh_exporter_memory_usage_bytes", state="queued") == (
        watched.stats().queued_bytes
    )


async def test_every_reason_to_drop_is_told_from_the_start(
    watched: Exporter, registry: CollectorRegistry
) -> None:
    """
    A series is there at zero: the first drop is a rise, not a beginning.
    """
    dropped = Scrape(registry).series("hh_exporter_event_dropped_total", "reason")

    assert dropped == {reason.value: 0 for reason in DropReason}


async def test_requests_are_told_by_status(
    watched: Exporter, server: ScriptedServer, clock: FakeClock, registry: CollectorRegistry
) -> None:
    """
    A request without an answer has the status none.
    """
    server.script(status(503), reset_before_storing())
    push_all(watched, "a")
    await flushed(watched, clock)

    ended = Scrape(registry).series("hh_exporter_request_ended_total", "status_code")
    assert ended == {"503": 1, "none": 1, "200": 1}


async def test_durations_are_a_histogram(watched: Exporter, registry: CollectorRegistry) -> None:
    """
    It has the bounds, the count and the sum of stats().
    """
    push_all(watched, "a")
    await watched.flush()

    scrape, stats = Scrape(registry), watched.stats()
    buckets = scrape.series("hh_exporter_request_duration_seconds_bucket", "le")
    assert {float(le): count for le, count in buckets.items()} == stats.request_durations
    assert scrape.value("hh_exporter_request_duration_seconds_count") == 1
    assert scrape.value("hh_exporter_request_duration_seconds_sum") == stats.request_seconds
    assert max(stats.request_durations) == inf


async def test_health_and_breaker_are_one_of_their_words(
    watched: Exporter, server: ScriptedServer, registry: CollectorRegistry
) -> None:
    """
    Of all words one is 1, and it is that of stats().
    """
    server.script(status(401))
    push_all(watched, "a")
    await watched.flush(0.0)
    await until(lambda: watched.stats().health == "suspended")

    scrape = Scrape(registry)
    for name in ("hh_exporter_health", "hh_exporter_breaker"):
        words = scrape.series(name, "state")
        assert [word for word, value in words.items() if value] == ["suspended"]
        assert len(words) > 3


async def test_what_a_scrape_tells_is_of_one_instant(
    build_exporter: BuildExporter, registry: CollectorRegistry
) -> None:
    """
    Scraped in one thread while another pushes, the events of each scrape add up.
    """
    exporter = build_exporter()
    registry.register(ExporterCollector(exporter, name="main"))
    is_over = threading.Event()

    def push() -> None:
        while not is_over.is_set():
            exporter.push(model_event())

    pusher = threading.Thread(target=push)
    pusher.start()
    scrapes = [await asyncio.to_thread(Scrape, registry) for _ in range(20)]
    is_over.set()
    pusher.join()

    for scrape in scrapes:
        pushed, queued = (
            scrape.value(f"hh_exporter_{name}") for name in ("event_pushed_total", "queue_size")
        )
        dropped = scrape.series("hh_exporter_event_dropped_total", "reason")
        assert pushed == (queued or 0) + sum(dropped.values())
    assert scrapes[-1].value("hh_exporter_event_pushed_total")


async def test_exporters_are_told_apart_by_name(
    make_exporter: MakeExporter, registry: CollectorRegistry
) -> None:
    """
    One collector tells of several exporters, each under its own name.
    """
    one, other = await make_exporter(), await make_exporter()
    collector = ExporterCollector(one)
    collector.add(other, name="audit")
    registry.register(collector)
    push_all(one, "a")
    push_all(other, "b", "c")

    pushed = Scrape(registry).series("hh_exporter_event_pushed_total", "exporter")
    assert pushed == {"default": 1, "audit": 2}


async def test_a_name_is_of_one_exporter(make_exporter: MakeExporter) -> None:
    """
    A second exporter of the same name is refused, the same one again is not.
    """
    one = await make_exporter()
    collector = ExporterCollector(one, name="main")

    collector.add(one, name="main")
    with pytest.raises(ConfigError, match="'main'"):
        collector.add(await make_exporter(), name="main")


def test_a_second_collector_is_refused_by_the_registry(registry: CollectorRegistry) -> None:
    """
    Even before it has an exporter a collector holds its names, so that none is told twice.
    """
    registry.register(ExporterCollector())

    with pytest.raises(ValueError, match="hh_exporter_event_pushed"):
        registry.register(ExporterCollector())


def test_an_exporter_that_is_gone_is_not_told_of(registry: CollectorRegistry) -> None:
    """
    A collector keeps no exporter alive, and its name is free again.
    """
    collector = ExporterCollector(Exporter(disabled=True), name="main")
    registry.register(collector)
    gc.collect()

    assert not Scrape(registry).text
    other = Exporter(disabled=True)
    collector.add(other, name="main")
    assert Scrape(registry).value("hh_exporter_event_pushed_total") == 0


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
async def test_a_forked_child_tells_of_its_own_events(
    watched: Exporter, registry: CollectorRegistry
) -> None:
    """
    What the parent pushed is the parent's to tell.
    """
    push_all(watched, "a")

    def push_in_child() -> list[float | None]:
        before = Scrape(registry).value("hh_exporter_event_pushed_total")
        push_all(watched, "b", "c")
        return [before, Scrape(registry).value("hh_exporter_event_pushed_total")]

    assert await forked(push_in_child) == [0, 2]
    assert Scrape(registry).value("hh_exporter_event_pushed_total") == 1
