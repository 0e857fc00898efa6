"""
README's examples run as they stand, and print what it says they print.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import aiohttp
import pytest
import uvicorn

from hh_exporter._collector import Collector
from tests.docs.pages import PAGES, README, ROOT, examples, run
from tests.support import until

[APP, SCRIPT, INSTRUMENT] = examples(README)


@pytest.fixture
async def collector(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Collector]:
    async with Collector() as collector:
        monkeypatch.setenv("HH_API_URL", collector.url)
        yield collector


async def test_the_app_delivers_what_it_records(collector: Collector) -> None:
    """
    The app of the first screen answers what README says, and delivers each call on shutdown.
    """
    app = run(APP)["app"]
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="on"))
    serving = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]

    url = f"http://127.0.0.1:{port}/ask"
    async with aiohttp.ClientSession() as client:
        for question in ("Hi", "two"):
            async with client.get(url, params={"question": question}) as response:
                text = await response.text()
                if question == "Hi":
                    assert f"/ask?question=Hi> answers `{text}`" in README
    server.should_exit = True
    await serving

    events = [stored.event async for stored in collector.events()]
    assert [event["messages"][0]["content"] for event in events] == ["Hi", "two"]
    assert [event["response"]["content"] for event in events] == ["You asked: Hi", "You asked: two"]


async def test_the_script_prints_what_readme_says(
    collector: Collector, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    It prints the result; its events are a tree, and the feedback is that of its root.
    """
    await asyncio.to_thread(run, SCRIPT)

    [result] = capsys.readouterr().out.splitlines()
    assert f"prints `{result}`" in README
    events = [stored async for stored in collector.events()]
    [root] = [stored for stored in events if stored.event.get("event_name") == "answer"]
    children = [s for s in events if s.event.get("parent_id") == root.event["event_id"]]
    assert len(events) == len([root, *children]) == 3
    assert {stored.session_id for stored in children} == {root.session_id}
    assert root.event["feedback"] == {"rating": 5}


async def test_instrumented_clients_are_captured(
    collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    """
    None is installed here, which is logged; what the app instruments itself arrives.
    """
    namespace = run(INSTRUMENT.replace("instrument(exporter)", "tracing = instrument(exporter)"))

    assert "no calls are captured" in caplog.text
    async with namespace["exporter"], namespace["tracing"] as tracing:
        asked = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o"}
        tracing.provider.get_tracer("app").start_span("chat", attributes=asked).end()
    [stored] = [stored async for stored in collector.events()]
    assert stored.event["model"] == "gpt-4o"


def test_each_cost_is_a_row_of_the_benchmarks_page() -> None:
    """
    README repeats some rows of docs/benchmarks.md word for word; each names a benchmark.
    """
    costs = README.split("## Costs\n")[1].split("\n## ")[0]
    _, *rows = re.findall(r"^\| .* \| `?\w+`? \|$", costs, re.MULTILINE)
    all_rows = re.findall(r"^\| .* \| `(\w+)` \|$", PAGES["benchmarks"], re.MULTILINE)

    assert 3 < len(rows) < len(all_rows)
    assert [row for row in rows if row not in PAGES["benchmarks"]] == []
    assert [name for name in all_rows if not (ROOT / f"benchmarks/{name}.py").exists()] == []


def test_readme_links_each_page() -> None:
    """
    Every page of docs/ can be found from README.
    """
    linked = set(re.findall(r"\(docs/([\w-]+)\.md\)", README))

    assert linked == PAGES.keys() - {"index", "changelog"}
