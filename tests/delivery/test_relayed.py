"""
What a stream has, for a relay to deliver, is no loss, and never counts as delivered.
"""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry

from hh_exporter import DropReason, Exporter, FlushResult, Outcome, Settlement, Spool
from hh_exporter.integrations.opentelemetry import ExporterInstruments
from hh_exporter.integrations.prometheus import ExporterCollector
from tests.conftest import BuildExporter, in_both_dialects
from tests.relaying import let_relay
from tests.scripted_server import ScriptedServer, created, hang, refuse_if
from tests.spools import contents, files_in
from tests.support import FakeClock, assert_balanced, flushed, model_event, push_all


@pytest.fixture
def told() -> list[Settlement]:
    return []


@pytest.fixture
async def relaying(build_exporter: BuildExporter, told: list[Settlement]) -> Exporter:
    exporter = build_exporter(on_outcome=told.append)
    let_relay(exporter)
    await exporter.start()
    return exporter


@in_both_dialects
async def test_what_is_accepted_is_relayed(
    relaying: Exporter,
    told: list[Settlement],
    dialect: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    The books, the flush and `on_outcome` say so, and nothing is logged: it is no loss.
    """
    push_all(relaying, "a", "b")
    result = await relaying.flush()

    assert result == FlushResult(0, 0, 0, 0, relayed=2)
    stats = assert_balanced(relaying)
    assert (stats.relayed, stats.delivered, stats.settled, stats.health) == (2, 0, 2, "ok")
    assert told == [
        Settlement(outcome=Outcome.RELAYED, reason=None, event_ids=("a", "b"), status=200)
    ]
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []


async def test_what_is_refused_is_not_relayed(
    relaying: Exporter, server: ScriptedServer, told: list[Settlement], clock: FakeClock
) -> None:
    """
    A flush tells the outcomes apart, as the books do.
    """
    server.default = refuse_if(lambda event: event["event_id"] == "bad")
    push_all(relaying, "good", "bad", "fine")
    result = await flushed(relaying, clock)

    assert result == FlushResult(delivered=0, rejected=1, dropped=0, left=0, relayed=2)
    assert {s.event_ids: s.outcome.is_loss for s in told if "bad" in s.event_ids} == {
        ("bad",): True
    }
    assert assert_balanced(relaying).settled == 3


async def test_a_single_event_is_relayed(relaying: Exporter, told: list[Settlement]) -> None:
    """
    `create_model_event` returns once the stream has it.
    """
    assert await relaying.create_model_event(model_event(event_id="one"))

    assert [(s.outcome, s.event_ids) for s in told] == [(Outcome.RELAYED, ("one",))]
    assert assert_balanced(relaying).relayed == 1


async def test_a_close_says_what_was_relayed(relaying: Exporter, server: ScriptedServer) -> None:
    """
    What is left is dropped, and does not count as relayed.
    """
    push_all(relaying, "a")
    await relaying.flush()
    server.default = hang()
    push_all(relaying, "b")

    assert await relaying.aclose(0.0) == FlushResult(0, 0, dropped=1, left=0)
    assert assert_balanced(relaying).relayed == 1


async def test_an_update_of_a_relayed_event_goes_through(
    relaying: Exporter, server: ScriptedServer, told: list[Settlement]
) -> None:
    """
    It follows its event, and is relayed, too.
    """
    push_all(relaying, "a")
    relaying.update("a", feedback={"rating": 5})
    await relaying.flush()
    relaying.update("a", feedback={"rating": 4})
    await relaying.flush()

    assert [s.outcome for s in told if s.is_update] == [Outcome.RELAYED] * 2
    assert [body["feedback"]["rating"] for body in server.updated] == [5, 4]
    assert assert_balanced(relaying).relayed == 3


async def test_an_event_that_was_lost_and_is_relayed_later_is_not_lost(
    relaying: Exporter, server: ScriptedServer, told: list[Settlement], clock: FakeClock
) -> None:
    """
    Its updates are dropped only as long as no stream has it.
    """
    server.default = refuse_if(lambda event: event["event_id"] == "a")
    push_all(relaying, "a")
    relaying.update("a", feedback={"rating": 1})
    await flushed(relaying, clock)
    assert [s.reason for s in told] == [None, DropReason.EVENT_LOST]

    server.default = created()
    push_all(relaying, "a")
    relaying.update("a", feedback={"rating": 2})
    await flushed(relaying, clock)

    assert [s.outcome for s in told[2:]] == [Outcome.RELAYED] * 2
    assert [body["feedback"]["rating"] for body in server.updated] == [2]


async def test_what_is_relayed_leaves_the_spool(
    build_exporter: BuildExporter, tmp_path: Path
) -> None:
    """
    It is no dead letter, and nobody who opens the spool sends it again.
    """
    exporter = build_exporter(spool=Spool(tmp_path, durable=True))
    let_relay(exporter)
    await exporter.start()
    assert await exporter.put(model_event(event_id="a"))
    assert contents(tmp_path)[0] == ["a"]
    await exporter.flush()
    await exporter.aclose()

    stats = assert_balanced(exporter)
    assert (stats.relayed, stats.spooled, stats.dead_letters) == (1, 0, 0)
    assert files_in(tmp_path) == []


async def test_metrics_have_what_was_relayed_and_what_the_stream_had_already(
    relaying: Exporter,
) -> None:
    """
    In Prometheus and in OpenTelemetry, apart from what was delivered.
    """
    registry, reader = CollectorRegistry(), InMemoryMetricReader()
    registry.register(ExporterCollector(relaying))
    instruments = ExporterInstruments(relaying, meter_provider=MeterProvider([reader]))
    push_all(relaying, "a", "b")
    await relaying.flush()
    with relaying._queue.lock:
        relaying._queue.ledger.requests.note_duplicates(3)

    def scraped(name: str) -> float | None:
        return registry.get_sample_value(f"hh_exporter_{name}_total", {"exporter": "default"})

    data = reader.get_metrics_data()
    assert data is not None
    [scope] = data.resource_metrics[0].scope_metrics
    read = {
        metric.name.removeprefix("hh_exporter."): metric.data.data_points[0]
        for metric in scope.metrics
        if metric.data.data_points
    }
    for name, number in {"relayed": 2, "delivered": 0, "duplicate": 3}.items():
        assert scraped(f"event_{name}") == number
        assert getattr(read[f"event.{name}"], "value", None) == number
    assert relaying.stats().duplicates == 3
    del instruments


def test_only_what_was_rejected_or_dropped_is_a_loss() -> None:
    """
    What a relay is to deliver has got where the exporter was to take it.
    """
    assert [outcome for outcome in Outcome if outcome.is_loss] == ["rejected", "dropped"]


def test_a_result_by_position_means_what_it_meant() -> None:
    """
    What was relayed is given by its name alone.
    """
    result = FlushResult(1, 2, 3, 4)

    assert (result.delivered, result.rejected, result.dropped, result.left) == (1, 2, 3, 4)
    assert result.relayed == 0
