"""
README's examples run as they stand, and its table of settings is the code's.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import attrs
import pytest
import uvicorn

from hh_exporter import BatchLimits, Exporter, ModelEvent, QueueLimits, RetryPolicy, Spool
from hh_exporter._collector import Collector
from hh_exporter._dialects.v1 import V1Dialect
from hh_exporter._environment import Settings, variables_of
from tests.support import until

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.fixture
async def collector(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Collector]:
    async with Collector() as collector:
        monkeypatch.setenv("HH_API_URL", collector.url)
        yield collector


async def test_the_fastapi_app_delivers_what_it_records(collector: Collector) -> None:
    """
    The app of the first screen delivers each call by the time it has shut down.
    """

    async def call_your_model(messages: object) -> str:
        return "an answer"

    namespace: dict[str, Any] = {"call_your_model": call_your_model}
    exec(EXAMPLES[0], namespace)
    config = uvicorn.Config(namespace["app"], port=0, log_config=None, lifespan="on")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]

    url = f"http://127.0.0.1:{port}/ask"
    async with aiohttp.ClientSession() as client:
        for question in ("one", "two"):
            async with client.get(url, params={"question": question}) as response:
                assert await response.json() == "an answer"
    server.should_exit = True
    await serving

    events = [stored.event async for stored in collector.events()]
    assert [event["messages"][0]["content"] for event in events] == ["one", "two"]
    assert [event["response"]["content"] for event in events] == ["an answer"] * 2


async def test_the_pushing_example_prints_what_it_says(
    collector: Collector, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    The second example delivers both of its events and prints the result.
    """
    await asyncio.to_thread(exec, EXAMPLES[1], {})

    assert "FlushResult(delivered=2, rejected=0, dropped=0, left=0)" in capsys.readouterr().out
    assert await collector.count() == 2


async def test_the_outcome_example_tells_of_losses_only(
    collector: Collector, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    The third example prints an event that was dropped and none that was delivered.
    """
    namespace: dict[str, Any] = {}
    exec(EXAMPLES[2], namespace)
    exporter: Exporter = namespace["exporter"]

    async with exporter:
        with exporter.record(model="gpt-4o"):
            pass
        await exporter.flush()
    with exporter.record(model="gpt-4o"):
        pass

    assert re.fullmatch(r"dropped closed \('[0-9a-f-]{36}',\)\n", capsys.readouterr().out)


async def test_the_session_example_is_one_session(collector: Collector) -> None:
    """
    The fourth example delivers a conversation as one session with its properties.
    """
    namespace: dict[str, Any] = {}
    exec(EXAMPLES[3], namespace)

    async with Exporter() as exporter:
        await namespace["chat"](exporter, "free", ["one", "two"])

    events = [stored async for stored in collector.events()]
    [session] = [stored async for stored in collector.sessions()]
    assert [event.session_id for event in events] == [session.session_id] * 2
    assert session.properties["session_name"] == "support chat"
    assert session.properties["user_properties"] == {"plan": "free"}


async def test_the_redaction_example_removes_addresses(collector: Collector) -> None:
    """
    The fifth example lets no e-mail address out, wherever it stands.
    """
    namespace: dict[str, Any] = {}
    exec(EXAMPLES[4], namespace)
    exporter: Exporter = namespace["exporter"]
    arguments = '{"to": "ann\\u0040example.com"}'
    call = {"type": "function", "function": {"name": "send", "arguments": arguments}}

    async with exporter:
        with exporter.record(model="gpt-4o") as event:
            event.messages = [{"role": "user", "content": "I am ann@example.com."}]
            event.response = {"role": "assistant", "tool_calls": [call]}
            event.metadata = {"from": ["ann@example.com"]}

    [stored] = [stored.event async for stored in collector.events()]
    assert stored["messages"][0]["content"] == "I am [address]."
    assert stored["metadata"] == {"from": ["[address]"]}
    assert "example.com" not in str(stored)
    assert "\\u0040" not in str(stored)


async def test_an_event_is_in_the_spool_that_readme_names(
    collector: Collector, tmp_path: Path
) -> None:
    """
    Both forms of the setting make a spool; with the durable one an event is on disk first.
    """
    namespace: dict[str, Any] = {}
    exec(EXAMPLES[5].replace("/var/lib/my-app/events", str(tmp_path / "events")), namespace)

    async with namespace["exporter"] as exporter:
        assert await exporter.put(ModelEvent(model="gpt-4o"))
        assert exporter.stats().spooled_bytes


def test_no_example_goes_untested() -> None:
    """
    Every Python block of README is one of the above, or that of test_web_servers.
    """
    assert len(EXAMPLES) == 7


def test_the_table_of_the_v1_dialect_is_the_codes() -> None:
    """
    docs/dialects.md says of each field what the dialect does.
    """
    table = re.findall(r"^ *(\| .*\|)$", V1Dialect.__doc__ or "", re.MULTILINE)

    assert len(table) > 15
    assert "\n".join(table) in (ROOT / "docs/dialects.md").read_text()


def test_the_table_of_settings_is_the_codes() -> None:
    """
    README lists each scalar setting with its variables and its default.
    """
    groups: dict[str, type[Any]] = {
        "queue": QueueLimits,
        "batch": BatchLimits,
        "retry": RetryPolicy,
        "spool": Spool,
    }
    expected = {}
    for name, owner in ({"": Settings} | groups).items():
        prefix = f"HH_EXPORTER_{name}".rstrip("_")
        defaults = {a.name: a.default for a in attrs.fields(owner)}
        for field, variables in variables_of(owner, prefix).items():
            expected[f"{name}.{field}".lstrip(".")] = (variables, defaults[field])

    rows = re.findall(r"^\| `([a-z._]+)` \| (`HH_[^|]*) \| (.*) \|$", README, re.MULTILINE)
    listed = {path: (tuple(re.findall(r"`(\w+)`", names)), text) for path, names, text in rows}

    assert listed.keys() == expected.keys()
    for path, (variables, text) in listed.items():
        assert variables == expected[path][0]
        default = expected[path][1]
        shown = "none" if default in (None, attrs.NOTHING) else str(default).lower()
        assert text.replace("`", "").startswith(shown), path
