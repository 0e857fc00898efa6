"""
docs/metrics.md runs as it stands, and its tables are the code's.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from fastapi import Response
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import REGISTRY, generate_latest

from hh_exporter.integrations._metrics import METRICS
from tests.scripted_server import ScriptedServer, status
from tests.support import push_all, until

PAGE = (Path(__file__).parents[2] / "docs/metrics.md").read_text()
READY, PROMETHEUS, OPENTELEMETRY = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(autouse=True)
def _address(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HH_API_URL", server.url)


def run(example: str, **given: object) -> dict[str, Any]:
    namespace: dict[str, Any] = dict(given)
    exec(example, namespace)
    return namespace


async def test_the_readiness_route_tells_of_a_refused_key(server: ScriptedServer) -> None:
    """
    An app is ready while events arrive, and not while the key is refused.
    """
    namespace = run(READY)
    server.script(status(401))
    async with namespace["exporter"] as exporter:
        well, unwell = Response(), Response()
        assert await namespace["ready"](well) == {"telemetry": "ok", "reason": ""}
        push_all(exporter, "a")
        await until(lambda: exporter.stats().health == "suspended")
        said = await namespace["ready"](unwell)

    assert (well.status_code, unwell.status_code) == (200, 503)
    assert said["telemetry"] == "suspended"
    assert "api_key" in said["reason"]


async def test_the_prometheus_example_tells_of_both_exporters() -> None:
    """
    Prometheus' default registry has both, by their names.
    """
    namespace = run(PROMETHEUS)
    try:
        text = generate_latest(REGISTRY).decode()
    finally:
        REGISTRY.unregister(namespace["collector"])

    for name in ("default", "audit"):
        assert f'hh_exporter_event_pushed_total{{exporter="{name}"}} 0.0' in text


async def test_the_opentelemetry_example_tells_of_both_exporters() -> None:
    """
    The instruments tell of both, by their names.
    """
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    given = "ExporterInstruments(exporter, meter_provider=provider)"
    namespace = run(
        OPENTELEMETRY.replace("ExporterInstruments(exporter)", given), provider=provider
    )
    data = reader.get_metrics_data()
    provider.shutdown()

    assert data is not None
    [scope] = data.resource_metrics[0].scope_metrics
    points: Any = scope.metrics[0].data.data_points
    assert {point.attributes["hh_exporter.name"] for point in points} == {"default", "audit"}
    assert namespace["instruments"]


def test_the_table_is_the_codes() -> None:
    """
    Each metric is listed, in the words of its description.
    """
    rows = re.findall(r"^\| `([a-z_.]+)` \| `([a-z_]+)` \|(.*)\| (.*) \|$", PAGE, re.MULTILINE)
    units = {"s": "_seconds", "By": "_bytes"}

    assert rows == [
        (
            metric.name,
            metric.name.replace(".", "_")
            + units.get(metric.unit, "")
            + ("_total" if metric.kind == "counter" else ""),
            f" `{metric.attribute}` " if metric.attribute else " ",
            metric.text,
        )
        for metric in METRICS
    ]
