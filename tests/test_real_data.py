"""
Real events, and lines that no program should have written, through the whole way.

What arrives is compared with the dialect's own mapping, value by value.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from hh_exporter import Exporter, ModelEvent, QueueLimits
from hh_exporter._cli._lines import MAX_LINE_BYTES
from hh_exporter._cli.demo import compare, wire_forms
from hh_exporter._collector import Collector, StoredEvent
from hh_exporter._dialects.legacy import LegacyDialect
from hh_exporter._dialects.registry import DIALECTS
from tests.builders import described
from tests.command import run
from tests.scripted_server import ScriptedServer
from tests.support import assert_balanced, model_event

DATA = Path(__file__).parents[2] / "shared/data/model_events.jsonl.gz"
SCHEMAS = {"legacy": "CreateModelEvent", "v1": "V1Event"}

structure = LegacyDialect().converter.structure


def line(**fields: Any) -> bytes:
    return orjson.dumps({"model": "hostile", **fields})


def lines_with(field: str, *values: Any) -> list[bytes]:
    return [line(**{field: value}) for value in values]


def nested(levels: int) -> bytes:
    return b'{"model":"hostile","inputs":{"a":%s}}' % (b"[" * levels + b"]" * levels)


NO_EVENTS = [
    *(b"nonsense", b"{", b"]", b"[]", b"1", b"null", b'"model"', b"\x00\x01", b"\xff\xfe{\x00}"),
    *(b"{}", b'{"model":null}', b'{"model":[]}', b'{"model":"a"}{"model":"b"}'),
    b'{"model":NaN}',
    *(nested(2000), b"[" * 100_000, b'{"a":' * 100_000),
    b"x" * (MAX_LINE_BYTES + 1),
    *lines_with("messages", "text", {}, [1], ["text"], [None], [[]], 5, True),
    *lines_with("response", 5, [], "text", False),
    *lines_with("usage", [], "many", 5),
    *lines_with("tools", "none", [1], 5),
    *lines_with("metadata", "x", [], 1.5),
    *lines_with("cost", "1", True, {}, []),
    *lines_with("event_id", 5, {}, [], True),
    *lines_with("duration", "long", {}, False),
    *(line(start_time="2024-01-01"), line(error={}), line(session_id=1), line(template="x")),
    *lines_with("event_type", 5, "tools", {}),
]
"""Lines that hold no event, as the command says of each."""

MISFITS = [
    *lines_with("children_ids", {}, [1], "x"),
    *lines_with("project_id", 5, None, []),
    *(line(model_name=5), line(model_version={})),
]
"""Events with keys that no field is for, which a legacy route knows and takes otherwise."""

ODD_EVENTS = [
    *(b'{"model":"a","cost":Infinity}', b'{"model":"a","cost":1e999}'),
    *(b'{"model":"\\ud800"}', b'{"model":"a","inputs":{"\\udc00":1}}', b'{"model":"\xed\xa0\x80"}'),
    *(line(tools={}), line(tools={"type": "function"}), line(tool_choice={"type": "x"})),
    *lines_with("tool_choice", 5, [], True, [[{}]]),
    *(line(messages=[{}]), line(messages=[{"content": None}]), line(usage={}), line(response={})),
    *(
        line(event_type="tool"),
        line(event_type=None),
        line(children_ids=["a"]),
        line(success=True),
        line(events=[]),
    ),
    *(line(event_id=""), line(event_id="good-0 "), line(session_id=""), line(parent_id="\0")),
    *(line(inputs={"": {"": [None]}}), line(metadata={"__proto__": 1, "metadata": {}})),
    *(line(**{"": 1}), line(**{"\0": "\0"}), line(**{"model ": 1})),
    line(config={"model": 5}, metadata={"cost": "x"}, cost=1, inputs={"chat_history": 5}),
    *(line(duration=-1), line(duration=1e308, start_time=1e308), line(cost=-0.0)),
    *(line(start_time=-1e308, end_time=1e308), line(end_time=0)),
    b'{"model":"a","model":"hostile","cost":{},"cost":2}',
    b'{"model":"hostile","inputs":{"n":18446744073709551616,"m":-9223372036854775809}}',
    b'{"model":"hostile","cost":18446744073709551616,"usage":{"total":1e-999}}',
    b'{"model":"hostile","inputs":{"n":%s}}' % (b"9" * 300),
    b'{"model":"\\u0000\\ud83d\\ude00\\u2028","event_name":"\\u202e"}',
    *(nested(253), nested(300), nested(1000)),
    line(inputs={"text": "x" * 2_000_000}),
]
"""Events that are odd and lawful: they arrive."""

TOO_LARGE = [line(inputs={"text": "x" * 5_000_000}), line(inputs={"text": "\0" * 1_000_000})]


def good_events() -> list[ModelEvent]:
    """
    Make a hundred events that no neighbour may harm.
    """
    return [
        model_event(
            event_id=f"good-{n}",
            session_id=f"session-{n % 7}",
            cost=n / 3,
            inputs={"n": n, "text": "é\u2028😀" * n, "big": 2**63, "deep": [[{"a": None}]]},
            metadata={"cost": "its own", "usage": n},
        )
        for n in range(100)
    ]


def mixed(events: list[ModelEvent], others: list[bytes]) -> Iterator[bytes]:
    """
    Write *events* as lines by the names of their fields, with the *others* between them.
    """
    unstructure = LegacyDialect().converter.unstructure
    ways = [iter(map(orjson.dumps, map(unstructure, events))), iter(others)]
    while ways:
        for way in tuple(ways):
            if (text := next(way, None)) is None:
                ways.remove(way)
            else:
                yield text


async def stored_in(collector: Collector) -> list[StoredEvent]:
    return [event async for event in collector.events()]


@pytest.mark.skipif(not DATA.exists(), reason="the recorded events are not on this machine")
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_recorded_events_arrive_as_they_are(dialect: Any) -> None:
    """
    Each event is stored once, as the dialect maps it: in the legacy one, as it was recorded.
    """
    with gzip.open(DATA) as file:
        recorded = [orjson.loads(text) for text in file]
    events = [
        structure({"event_id": f"e{n}", **event}, ModelEvent) for n, event in enumerate(recorded)
    ]
    forms = wire_forms(events, dialect)
    async with Collector() as collector:
        async with Exporter(
            base_url=collector.url, dialect=dialect, queue=QueueLimits(max_events=2000)
        ) as exporter:
            assert all(map(exporter.push, events))
            await exporter.flush()
            stats = assert_balanced(exporter)
        comparison = compare(forms, await stored_in(collector))

    assert len(forms) == len(recorded) == stats.delivered == 1516
    assert comparison.is_exact, comparison
    if dialect == "legacy":
        assert [{**event, "event_id": f"e{n}"} for n, event in enumerate(recorded)] == [
            *forms.values()
        ]


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_no_line_harms_another(dialect: str, tmp_path: Path) -> None:
    """
    Among lines of all kinds each good event arrives as it is, and each other has its outcome.
    """
    events = good_events()
    forms = wire_forms(events, dialect)
    # Good ones follow those that a server refuses: all of them at the end look like an outage.
    lines = [*mixed(events, MISFITS + NO_EVENTS + ODD_EVENTS + TOO_LARGE)]
    (tmp_path / "lines").write_bytes(b"\n".join(lines))
    async with Collector() as collector:
        finished = await run(
            *("send", "--json", "--dialect", dialect, "--url", collector.url),
            str(tmp_path / "lines"),
            HH_EXPORTER_RETRY_BASE="0.001",
            HH_EXPORTER_BATCH_MAX_EVENTS="20",
        )
        stored = await stored_in(collector)
    summary = json.loads(finished.stdout)

    comparison = compare(forms, [s for s in stored if s.event_id in forms])
    assert comparison.is_exact, comparison
    rejected = len(MISFITS) if dialect == "legacy" else 0
    assert summary == {
        "read": len(lines),
        "invalid": len(NO_EVENTS),
        "skipped": 0,
        "pushed": len(lines) - len(NO_EVENTS),
        "delivered": len(stored),
        "relayed": 0,
        "rejected": rejected,
        "dropped": len(TOO_LARGE),
        "left": 0,
        "requests": summary["requests"],
        "retries": summary["retries"],
    }
    assert len(stored) == len(events) + len(ODD_EVENTS) + len(MISFITS) - rejected
    assert [
        e.message
        for s in stored
        if s.path != "/events/batch"  # where events of other kinds go; no description is at hand
        for e in described(SCHEMAS[dialect], dialect).iter_errors(s.event)
    ] == []
    assert finished.status == 1
    assert f"{len(NO_EVENTS) - 20} more invalid lines" in finished.stderr


async def test_a_key_of_the_wire_may_be_called_extra(
    exporter: Exporter, server: ScriptedServer
) -> None:
    """
    It is one of those that the class does not know, and no field of its own.
    """
    event = DIALECTS["legacy"]().converter.structure({"model": "m", "extra": {"a": 1}}, ModelEvent)

    assert exporter.push(event)
    await exporter.flush()

    assert server.created[0]["extra"] == {"a": 1}
