"""
The examples of the page on fleets, run.
"""

from __future__ import annotations

import pytest

from hh_exporter import Exporter, ModelEvent
from hh_exporter._cli._cluster import Cluster
from tests.docs.pages import PAGES, examples
from tests.nats import connected

PUBLISH, *_ = examples(PAGES["fleet"])


async def test_an_app_publishes_as_the_page_says(
    nats_server: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    With the setting in all its forms.
    """
    monkeypatch.setenv("HH_EXPORTER_JETSTREAM_SERVERS", nats_server.servers)
    names: dict[str, object] = {}
    exec(PUBLISH, names)
    assert isinstance(names["exporter"], Exporter)

    by_page = PUBLISH.split("exporter = ")[1].replace(
        "nats://n1:4222,nats://n2:4222,nats://n3:4222", nats_server.servers
    )
    made = eval(by_page, names)
    async with connected(nats_server) as client:
        await client.make_stream("EVENTS", "hh_exporter.events.>")
        for exporter in (made, Exporter()):
            async with exporter:
                exporter.push(ModelEvent(model="gpt-4o"))
                assert (await exporter.flush()).relayed == 1
        assert await client.messages("EVENTS") == 2
