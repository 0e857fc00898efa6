"""
The examples of docs/ run as they stand, its settings are the code's, and its links lead somewhere.

Pages with tests of their own are left to these.
"""

from __future__ import annotations

import inspect
import math
import os
import re
import runpy
import shlex
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, get_type_hints
from urllib.parse import urlsplit

import aiohttp
import attrs
import pytest
from tenacity import AsyncRetrying, RetryCallState

from hh_exporter import (
    ConfigError,
    DropReason,
    Exporter,
    ModelEvent,
    Outcome,
    RetryPolicy,
    SessionProperties,
    Spool,
)
from hh_exporter._cli.collect import collect_command
from hh_exporter._collector import Collector
from hh_exporter._delivery import limiter
from hh_exporter._delivery.breaker import Breaker
from hh_exporter._delivery.retry import next_delay
from hh_exporter._dialects.v1 import V1Dialect
from hh_exporter._environment import Settings, read_settings, variables_of
from hh_exporter._settings.batch import MAX_BODY_BYTES
from hh_exporter._spool.file import SpoolFile
from hh_exporter._spool.room import MAX_WAITING
from hh_exporter._transport.http import _ANSWER_LIMIT
from tests.command import call
from tests.command import run as run_command
from tests.docs.pages import DOCS, PAGES, README, ROOT, examples, run
from tests.programs import started
from tests.scripted_server import ScriptedServer, created, status
from tests.support import model_event

SETTINGS_PAGE = runpy.run_path(str(DOCS / "settings_page.py"))
GROUPS: dict[str, type[Any]] = SETTINGS_PAGE["GROUPS"]
SETTINGS: str = SETTINGS_PAGE["fill_in"](PAGES["settings"])

[APP] = examples(PAGES["start"])
[REMEMBER, ANSWER, SEARCH, RATE, ON_OUTCOME, REPORT] = examples(PAGES["events"])
[CHECK_BOOKS, SEND] = examples(PAGES["guarantees"])
[CHAT, RANK] = examples(PAGES["sessions"])
[BLOCKS, DECORATED] = examples(PAGES["traces"])
[PATIENT] = examples(PAGES["responses"])
[REDACT, NAME_ONLY, ASK_FIRST] = examples(PAGES["privacy"])
[SPOOLED, ANY_KEY] = examples(PAGES["spool"])
[SHOW, BULK] = examples(PAGES["sizing"])
[FROM_ENVIRONMENT, TO_STREAM] = examples(PAGES["settings"])

RUN_HERE = {
    *("start", "events", "guarantees", "sessions", "responses"),
    *("privacy", "spool", "fleet", "sizing", "settings", "traces"),
}
NO_EXAMPLES = {
    *("api", "benchmarks", "changelog", "cli"),
    *("collector", "collector-api", "dialects", "extending", "index", "page"),
}
OTHERS = {
    "architecture",
    "frameworks",
    "genai",
    "metrics",
    "migrating",
    "operations",
    "testing",
    "wire",
}
"""Pages whose examples, if any, are run by tests of their own."""


@pytest.fixture
async def collector(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Collector]:
    async with Collector() as collector:
        monkeypatch.setenv("HH_API_URL", collector.url)
        yield collector


async def test_getting_started_leads_to_an_event_on_the_page(tmp_path: Path) -> None:
    """
    The commands of the first page bring what was asked to where the collector's page reads it.
    """
    blocks = examples(PAGES["start"], "sh")
    _, collect, serve, ask, _ = (shlex.split(block) for block in blocks)
    [address] = [word.removeprefix("HH_API_URL=") for word in serve if "=" in word]
    assert f"`{address}` by default" in PAGES["start"]
    assert collect[1:] == ["collect"]
    assert serve[1:] == [".venv/bin/uvicorn", "app:app"]
    (tmp_path / "app.py").write_text(APP)
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        started("-m", "hh_exporter", "collect", "--port", "0", environ={}) as collecting,
    ):
        url = (await collecting.line()).split()[-1]
        fd = listener.fileno()
        environ = {"HH_API_URL": url, "PYTHONPATH": f"{ROOT}:{tmp_path}"}
        uvicorn = ("-m", "uvicorn", "app:app", "--fd", str(fd), "--log-level", "critical")
        with started(*uvicorn, environ=environ, passes=(fd,)) as serving:
            host, port = listener.getsockname()
            asked = urlsplit(ask[-1])._replace(netloc=f"{host}:{port}").geturl()
            async with aiohttp.ClientSession() as client:
                async with client.get(asked) as response:
                    assert await response.json() == "You asked: Hi"
                serving.send(signal.SIGTERM)
                done = await serving.ended()
                async with client.get(f"{url}/api/events") as response:
                    listed = await response.json()

    assert done.stderr == ""
    [stored] = listed["events"]
    assert stored["model"] == "gpt-4o"


def test_the_port_that_readers_are_told_is_the_collectors() -> None:
    """
    Its default stands on the first page, and on README's first screen.
    """
    [port] = [p.default for p in collect_command.params if p.name == "port"]
    first_screen = README.partition("\n## ")[0]

    for text in (PAGES["start"], first_screen):
        assert set(re.findall(r"http://127\.0\.0\.1:(\d+) ", text)) == {str(port)}
    assert examples(first_screen) == [APP]
    own = [line for line in APP.splitlines() if re.search("import .*(Exp|life)|^exp|^app", line)]
    assert len(own) == 4


async def test_a_block_takes_what_else_there_is_to_record(collector: Collector) -> None:
    """
    What the block sets arrives with what `record` was given.
    """
    async with Exporter() as exporter:
        run(REMEMBER)["remember"](exporter, {"content": "short"}, {"total_tokens": 3})

    [stored] = [stored.event async for stored in collector.events()]
    assert stored["response"] == {"content": "short"}
    assert stored["usage"] == {"total_tokens": 3}
    assert (stored["cost"], stored["metadata"]) == (0.0021, {"tenant": "a"})


async def test_the_step_is_reported(collector: Collector) -> None:
    """
    As an event of its kind, with what it was given and what came of it.
    """
    async with Exporter() as exporter:
        run(SEARCH)["report_search"](exporter, "why?", ["because"])

    [stored] = [stored.event async for stored in collector.events()]
    assert (stored["event_type"], stored["event_name"]) == ("tool", "search")
    assert stored["inputs"] == {"question": "why?"}
    assert stored["outputs"] == {"hits": ["because"]}


async def test_the_rating_is_added(collector: Collector) -> None:
    """
    To the event that was pushed before.
    """
    async with Exporter() as exporter:
        exporter.push(model_event(event_id="e1"))
        run(RATE)["rate"](exporter, "e1", 5)

    [stored] = [stored.event async for stored in collector.events()]
    assert stored["feedback"] == {"rating": 5}


async def test_a_recorded_stream_arrives(collector: Collector) -> None:
    """
    The text that was read is the response, and its first token is timed.
    """

    async def chunks() -> AsyncIterator[str]:
        yield "Hel"
        yield "lo"

    async with Exporter() as exporter:
        assert await run(ANSWER)["answer"](exporter, chunks()) == "Hello"

    [stored] = [stored.event async for stored in collector.events()]
    assert stored["response"] == {"role": "assistant", "content": "Hello"}
    assert stored["metrics"]["time_to_first_token"] >= 0


async def test_the_books_that_readers_check_balance(collector: Collector) -> None:
    """
    The check passes before, between and after outcomes of different kinds.
    """
    check = run(CHECK_BOOKS)["check_books"]
    async with Exporter() as exporter:
        check(exporter)
        exporter.push(model_event())
        exporter.push(ModelEvent(model=1))  # type: ignore[arg-type]
        check(exporter)
    check(exporter)
    assert (exporter.stats().delivered, exporter.stats().dropped) == (1, 1)


async def test_what_is_sent_again_by_hand_has_the_same_id(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The program that tries again after `send_failed` makes no second event.
    """
    monkeypatch.setenv("HH_API_URL", server.url)
    server.script(status(401))
    async with Exporter() as exporter:
        event_id = await run(SEND)["send"](exporter, "Hi")

    assert [event["event_id"] for r in server.requests for event in r.events] == [event_id] * 2


async def test_the_outcome_example_reports_losses_only(
    collector: Collector, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    It prints an event that was dropped and none that was delivered.
    """
    exporter: Exporter = run(ON_OUTCOME)["exporter"]

    async with exporter:
        with exporter.record(model="gpt-4o"):
            pass
        await exporter.flush()
    with exporter.record(model="gpt-4o"):
        pass

    assert re.fullmatch(r"dropped closed \('[0-9a-f-]{36}',\)\n", capsys.readouterr().out)


async def test_a_conversation_is_one_session(collector: Collector) -> None:
    """
    All its events are delivered in one session with its properties.
    """
    async with Exporter() as exporter:
        await run(CHAT)["chat"](exporter, "free", ["one", "two"])

    events = [stored async for stored in collector.events()]
    [session] = [stored async for stored in collector.sessions()]
    assert [event.session_id for event in events] == [session.session_id] * 2
    assert session.properties["session_name"] == "support chat"
    assert session.properties["user_properties"] == {"plan": "free"}


@pytest.mark.parametrize("dialect", ["legacy", "v1"])
async def test_the_blocks_of_a_trace_are_a_tree(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, dialect: str
) -> None:
    """
    A tool and a model call are the children of the step, in the session.
    """
    monkeypatch.setenv("HH_EXPORTER_DIALECT", dialect)
    async with Exporter() as exporter:
        assert run(BLOCKS)["answer"](exporter, "Hi") == "Hello"

    tree = await _read_tree(collector)
    assert tree == {"search": ["answer"], "gpt-4o": ["answer"], "answer": [None]}


@pytest.mark.parametrize("dialect", ["legacy", "v1"])
async def test_decorated_functions_are_a_tree(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, dialect: str
) -> None:
    """
    With what they were given and what came of them, also those that run at once.
    """
    monkeypatch.setenv("HH_EXPORTER_DIALECT", dialect)
    example = run(DECORATED)
    async with example["exporter"]:
        assert [word async for word in example["answer"]("Hi")] == ["Hello", "there"]

    tree = await _read_tree(collector)
    assert tree == {"search": ["answer"] * 2, "complete": ["answer"], "answer": [None]}
    events = [stored.event async for stored in collector.events()]
    inputs = [event["inputs"] for event in events if event["event_name"] == "search"]
    assert inputs == [{"q": "Hi", "limit": 3}, {"q": "greetings", "limit": 1}]
    [answer] = [event for event in events if event["event_name"] == "answer"]
    assert answer["outputs"] == {"result": ["Hello", "there"]}


async def _read_tree(collector: Collector) -> dict[str, list[str | None]]:
    """
    List the parents of all events, by name; all are in one session.
    """
    stored = [stored async for stored in collector.events()]
    events = [one.event for one in stored if one.event.get("event_type") != "session"]
    assert len({one.session_id for one in stored}) == 1
    names = {e["event_id"]: e.get("event_name") or e.get("model") for e in events}
    tree: dict[str, list[str | None]] = {}
    for event in events:
        parent = event.get("parent_id")
        tree.setdefault(str(names[event["event_id"]]), []).append(names.get(parent))
    return tree


async def test_the_redaction_example_removes_addresses(collector: Collector) -> None:
    """
    It lets no e-mail address out, wherever it stands.
    """
    exporter: Exporter = run(REDACT)["exporter"]
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


async def test_an_event_is_in_the_spool_of_the_example(
    collector: Collector, tmp_path: Path
) -> None:
    """
    Both forms of the setting make a spool; with the durable one an event is on disk first.
    """
    namespace = run(SPOOLED.replace("/var/lib/my-app/events", str(tmp_path / "events")))

    async with namespace["exporter"] as exporter:
        assert await exporter.put(ModelEvent(model="gpt-4o"))
        assert exporter.stats().spooled_bytes


async def test_the_spool_commands_deliver_what_is_on_disk(
    server: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    `list` shows a dead letter, `replay` sends it and what waits, `--drain` finds nothing left.
    """
    monkeypatch.setenv("HH_API_URL", server.url)
    async with Exporter(spool=tmp_path) as exporter:
        server.script(status(422))
        exporter.push(model_event(event_id="refused"))
        await exporter.flush()
        server.default = status(503)
        exporter.push(model_event(event_id="waiting"))
        await exporter.aclose(0.0)
    server.default = created()
    [commands, _] = examples(PAGES["spool"], "sh")
    lines = commands.replace("/var/lib/my-app/events", str(tmp_path)).splitlines()
    listed, *others = [await run_command(*shlex.split(line)[1:]) for line in lines]

    assert "refused" in listed.stdout
    assert [done.status for done in (listed, *others)] == [0, 0, 0]
    assert sorted(server.created_ids) == ["refused", "waiting"]


@pytest.mark.parametrize("way", ["command", "setting"])
async def test_a_rotated_key_gets_what_waits(
    server: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """
    Both ways to hand a spool over lead to a delivery with the new key.
    """
    monkeypatch.setenv("HH_API_URL", server.url)
    directory = tmp_path / "events"
    server.default = status(503)
    async with Exporter("old-key", spool=directory) as exporter:
        exporter.push(model_event(event_id="waiting"))
        await exporter.aclose(0.0)
    server.default = created()
    server.requests.clear()
    monkeypatch.setenv("HH_API_KEY", "new-key")
    [_, command] = examples(PAGES["spool"], "sh")
    if way == "command":
        words = shlex.split(command.replace("/var/lib/my-app/events", str(directory)))
        assert (await run_command(*words[2:], stdin=b"y\n")).status == 0
        exporter = Exporter(spool=directory)
    else:
        exporter = run(ANY_KEY.replace("/var/lib/my-app/events", str(directory)))["exporter"]
    async with exporter:
        assert (await exporter.flush()).delivered == 1

    assert {r.headers["authorization"] for r in server.requests} == {"Bearer new-key"}


async def test_a_session_goes_on_in_another_process(collector: Collector) -> None:
    """
    An event that names the id belongs to the session, and has its parent.
    """
    async with Exporter() as exporter:
        run(RANK)["rank"](exporter, "5f0c5a0e-7d8b-4b51-9d0a-0c3f6c6a1f11", "first")

    [stored] = [stored async for stored in collector.events()]
    assert stored.session_id == "5f0c5a0e-7d8b-4b51-9d0a-0c3f6c6a1f11"
    assert stored.event["parent_id"] == "first"


async def test_a_patient_exporter_delivers(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A `wait` of tenacity is asked for the delay after a failure.
    """
    monkeypatch.setenv("HH_API_URL", server.url)
    asked: list[int] = []

    def wait(_: object, state: RetryCallState) -> float:
        asked.append(state.attempt_number)
        return 0.0

    example = run(PATIENT)
    monkeypatch.setattr(type(example["patient"]), "__call__", wait)
    server.script(status(503))
    async with example["exporter"] as exporter:
        exporter.push(model_event())
        await exporter.flush()

    assert asked == [1]
    assert len(server.created) == 1


async def test_the_report_tells_of_a_rejected_event(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    It prints what its comment says, and the id of an event that is taken.
    """
    monkeypatch.setenv("HH_API_URL", server.url)
    server.script(status(422))
    report = run(REPORT)["report"]
    async with Exporter() as exporter:
        assert await report(exporter, model_event()) is None
        assert await report(exporter, model_event(event_id="second")) == "second"

    assert capsys.readouterr().out == re.findall("# such as: (.*\n)", REPORT)[0]


async def test_who_did_not_agree_is_not_recorded(collector: Collector) -> None:
    """
    The hook lets events pass of those who agreed, and no session's properties of others.
    """
    exporter: Exporter = run(ASK_FIRST)["exporter"]
    async with exporter:
        exporter.push(model_event(event_id="yes", user_properties={"agreed": True}))
        exporter.push(model_event(event_id="unknown"))
        exporter.push(
            model_event(event_id="again", user_properties={"agreed": True}),
            session=SessionProperties(session_name="secret"),
        )

    assert {stored.event_id async for stored in collector.events()} == {"yes", "again"}
    assert "secret" not in str([stored.properties async for stored in collector.sessions()])
    assert exporter.stats().dropped_by_reason == {DropReason.FILTERED: 1}


async def test_an_error_goes_without_its_text(collector: Collector) -> None:
    """
    What an exception quotes does not leave the process.
    """
    exporter: Exporter = run(NAME_ONLY)["exporter"]
    async with exporter:
        with pytest.raises(ValueError, match="a prompt"), exporter.record(model="gpt-4o"):
            raise ValueError("a prompt")

    [stored] = [stored.event async for stored in collector.events()]
    assert stored["error"] == "ValueError"


async def test_what_a_person_said_can_be_forgotten(server: ScriptedServer, tmp_path: Path) -> None:
    """
    The command leaves nothing of theirs on disk, and all of others'.
    """
    server.default = status(503)
    async with Exporter(base_url=server.url, spool=tmp_path, close_timeout=0.0) as exporter:
        for user in ("ann@example.com", "ben@example.com"):
            exporter.push(model_event(user_properties={"email": user}))
    assert _users_on_disk(tmp_path) == {b"ann", b"ben"}
    [command] = examples(PAGES["privacy"], "sh")
    done = call(*shlex.split(command)[1:], "--spool", str(tmp_path), "--yes")

    assert (done.status, _users_on_disk(tmp_path)) == (0, {b"ben"})


def _users_on_disk(directory: Path) -> set[bytes]:
    found: set[bytes] = set()
    for path in directory.glob("*.spool"):
        file = SpoolFile.peek(path)
        assert file is not None
        found.update(record.data for id_ in file.ids() if (record := file.record(id_)) is not None)
        file.close()
    return set(re.findall(b"(\\w+)@example", b"".join(found)))


@pytest.mark.parametrize("setting", ["hide_inputs", "hide_outputs"])
async def test_what_is_said_to_be_hidden_is(server: ScriptedServer, setting: str) -> None:
    """
    The fields of its row and of the last are not sent, and all others that hold anything are.
    """
    rows = dict(re.findall(r"^\| (`hide_\w+`|either) \| (.*) \|$", PAGES["privacy"], re.MULTILINE))
    whole, *_ = rows[f"`{setting}`"].split(";")  # then parts of a field
    hidden = set(re.findall(r"\w+", whole + rows["either"]))
    hints = get_type_hints(ModelEvent)
    free = {name for name, hint in hints.items() if "Any" in str(hint)}
    fields: dict[str, Any] = {name: {"key": f"<{name}>"} for name in free}
    arguments: dict[str, Any] = {"base_url": server.url, setting: True}
    async with Exporter(**arguments) as exporter:
        exporter.push(ModelEvent(model="gpt-4o", **fields))

    sent = server.requests[0].body.decode()
    assert {name for name in free if f"<{name}>" not in sent} == hidden


async def test_the_size_of_events_can_be_read(
    collector: Collector, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    The example says how many wait and how large they are.
    """
    show = run(SHOW)["show"]
    async with Exporter() as exporter:
        show(exporter)
        for _ in range(3):
            exporter.push(model_event())
        show(exporter)

    assert re.fullmatch(r"3 of 50000 events, \d\d\d bytes each\n", capsys.readouterr().out)


async def test_a_bulk_shares_few_requests(collector: Collector) -> None:
    """
    Five hundred small events are one request.
    """
    exporter: Exporter = run(BULK)["exporter"]
    async with exporter:
        for _ in range(500):
            exporter.push(model_event())

    assert exporter.stats().capacity == 200_000
    assert (exporter.stats().delivered, exporter.stats().requests) == (500, 1)


def test_a_group_is_given_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What the example asserts of variables and arguments holds.
    """
    monkeypatch.setattr(os, "environ", dict(os.environ) | {"HH_API_URL": "http://127.0.0.1:1"})

    run(FROM_ENVIRONMENT)


def test_an_exporter_publishes_to_a_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The example needs no API key, and shows no password.
    """
    monkeypatch.setenv("NATS_PASSWORD", "canary")

    exporter = run(TO_STREAM)["exporter"]

    assert "tls://n1.example:4222,tls://n2" in repr(exporter)
    assert "canary" not in repr(exporter._settings)


# What is said of settings and reasons.

SECTION = re.compile(
    r"^### ([a-z_.]+)\n\n(.+)\n\n- values: (.+)\n- default: (.+)\n- variable: (.+)\n", re.MULTILINE
)
SECTIONS = {path: tuple(rest) for path, *rest in SECTION.findall(SETTINGS)}


def test_the_table_of_settings_is_the_codes() -> None:
    """
    It lists each setting that has a variable, with its variables and its default.
    """
    expected = {}
    for path, owner in GROUPS.items():
        prefix = f"HH_EXPORTER_{path}".rstrip("_")
        defaults = {a.name: a.default for a in attrs.fields(owner)}
        for field, variables in variables_of(owner, prefix).items():
            expected[f"{path}.{field}".lstrip(".")] = (variables, defaults[field])

    rows = re.findall(
        r"^\| `([a-z._]+)` \| (`HH_[^|]*) \| (.*) \|$", PAGES["settings"], re.MULTILINE
    )
    listed = {path: (tuple(re.findall(r"`(\w+)`", names)), text) for path, names, text in rows}

    assert listed.keys() == expected.keys()
    for path, (variables, text) in listed.items():
        assert variables == expected[path][0]
        default = expected[path][1]
        shown = "none" if default in (None, attrs.NOTHING) else str(default).lower()
        assert text.replace("`", "").startswith(shown), path


def test_the_table_of_the_v1_dialect_is_the_codes() -> None:
    """
    It says where each field goes in the words of the dialect's docstring.
    """
    table = re.findall(r"^ *(\| .*\|)$", V1Dialect.__doc__ or "", re.MULTILINE)

    assert len(table) > 15
    assert "\n".join(table) in PAGES["dialects"]


def test_each_setting_has_its_section() -> None:
    """
    None is left out, and each says in a sentence what it means.
    """
    expected = [
        f"{path}.{a.name}".lstrip(".")
        for path, owner in GROUPS.items()
        for a in attrs.fields(owner)
    ]

    assert list(SECTIONS) == expected
    assert [path for path, (meaning, *_) in SECTIONS.items() if not meaning.endswith(".")] == []
    assert "<!--" not in SETTINGS


def test_the_defaults_are_those_of_an_exporter() -> None:
    """
    Where nothing is set, each setting is what its section says.
    """
    settings = read_settings({"spool": "somewhere", "jetstream": "nats://somewhere"}, {})
    for path, (_, shape, default, _) in SECTIONS.items():
        value: Any = settings
        for name in path.split("."):
            value = getattr(value, name)
        if default == "the defaults below":
            assert type(value).__name__ in shape
        elif path not in ("spool", "spool.directory", "jetstream", "jetstream.servers"):
            shown = default.partition("`,")[0].strip("`")
            assert shown == ("none" if value is None else str(value)) or shown == f'"{value}"', path


def test_a_wrong_variable_is_told_what_the_page_says() -> None:
    """
    Each variable of a section is read, and its error says what the section says.
    """
    count = 0
    for path, (_, shape, _, variables) in SECTIONS.items():
        names = re.findall(r"`(\w+)`", variables)
        if names and shape in ("a text", "a directory", "a file of credentials"):
            count += 1
            continue
        for name in names:
            with pytest.raises(ConfigError) as caught:
                read_settings({}, {name: "no such value"})
            assert str(caught.value).startswith(f"{name} must be {shape}"), path
            count += 1

    assert count > len(variables_of(Settings))


def test_each_reason_is_explained_as_the_code_does() -> None:
    """
    The table of reasons is that of `DropReason`, in its words.
    """
    source = (ROOT / "hh_exporter/_outcomes.py").read_text()
    reasons = re.findall(r'^    [A-Z_]+ = "(\w+)"\n    """(.*)"""$', source, re.MULTILINE)
    said = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", PAGES["responses"], re.MULTILINE))

    assert said == {name: text for name, text in reasons if name not in set(Outcome)}
    assert said.keys() == set(DropReason)


def test_the_delays_are_those_of_the_code() -> None:
    """
    What the page says of backoff and probes is what happens without jitter.
    """
    policy = RetryPolicy()
    state = RetryCallState(AsyncRetrying(), None, (), {})

    def bound(attempt: int) -> float:
        state.attempt_number = attempt
        return next_delay(policy, state, lambda: 1.0)

    *growing, last, after = map(bound, range(1, 9))
    assert last == after

    breaker, now = Breaker(lambda: 1.0), 0.0
    while not breaker.note_failure(now, "HTTP 503"):
        pass
    waits = []
    for _ in range(7):
        waits.append(breaker.free_at() - now)
        now = breaker.free_at()
        breaker.begin_probe()
        breaker.end_probe(now)
    first, *wider, widest, _ = waits
    assert waits[-2:] == [widest] * 2

    assert f"with the defaults {_listed(growing)} seconds, then {last:g}" in PAGES["responses"]
    assert (
        f"a probe is sent after {first:g} second, then after {_listed(wider)}, "
        f"then every {widest:g}" in PAGES["responses"]
    )


def test_the_figures_of_sizing_are_those_of_the_defaults() -> None:
    """
    Each figure that follows from a default does so.
    """
    page, settings, spool = PAGES["sizing"], Settings(), Spool("somewhere")
    queue, batch = settings.queue, settings.batch
    in_memory = min(queue.max_events, queue.max_bytes / (0.4 * 2800))
    on_disk = spool.max_bytes / (0.5 * 2800)
    packed = math.floor(queue.max_bytes / 2**20 / 0.4)

    for said in (
        f"| {queue.max_bytes // 2**20} MiB, and {2 * batch.max_bytes // 2**20} MiB |",
        f"| {300 * queue.max_events // 10**6} MB for `queue.max_events` events |",
        f"of at most {MAX_BODY_BYTES:,} bytes",
        f"| {_ANSWER_LIMIT // 2**20} MiB and four times its body",
        f"| {MAX_WAITING // 2**20} MiB |",
        *(
            f"| {rate:,} | {_in_words(in_memory / rate)} | {_in_words(on_disk / rate)} |"
            for rate in (20, 200, 2000)
        ),
        f"`close_timeout`, {settings.close_timeout:g} seconds by default",
        f"{packed} MiB of JSON, ten rounds of {settings.max_in_flight} requests",
    ):
        assert said in page, said

    assert packed / (batch.max_bytes / 2**20) / settings.max_in_flight == 10


def _in_words(seconds: float) -> str:
    """
    Say a duration in the largest unit of which it has two, rounded down.
    """
    units = (("hours", 3600), ("minutes", 60), ("seconds", 1))
    return next(f"{seconds // size:.0f} {unit}" for unit, size in units if seconds >= 2 * size)


def test_sizing_explains_each_reason_of_the_limit() -> None:
    """
    And none that is not one.
    """
    code = inspect.getsource(limiter)
    given = re.findall(r'(?:self\.reason = |_halve\(f?|default=)"([^"]+)"', code)
    table = PAGES["sizing"].split("| reason |")[1].split("\n\n")[0]
    cells = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    explained = {reason for cell in cells for reason in re.findall("`(.+?)`", cell)}

    assert {reason.replace("{status}", "…") for reason in given} == explained


def _listed(numbers: list[float]) -> str:
    *first, last = [f"{number:g}" for number in numbers]
    return f"{', '.join(first)} and {last}"


# What holds for all pages.


def test_no_example_goes_untested() -> None:
    """
    Each page's examples are run here, or by tests of its own.
    """
    assert PAGES.keys() == RUN_HERE | NO_EXAMPLES | OTHERS
    assert [page for page in NO_EXAMPLES if examples(PAGES[page])] == []


def test_links_between_pages_lead_somewhere() -> None:
    """
    Each link to a file of the repository finds it, and the heading that it names.
    """
    pages = [*DOCS.rglob("*.md"), ROOT / "README.md"]
    lost = []
    for page in pages:
        for target in re.findall(r"\]\(([^)\s]+)\)", _read(page)):
            name, _, heading = target.partition("#")
            found = page.parent / name if name else page
            if "://" not in target and (
                not found.exists() or (heading and heading not in _headings(_read(found)))
            ):
                lost.append(f"{page.relative_to(ROOT)}: {target}")

    assert lost == []


def _read(page: Path) -> str:
    return SETTINGS if page == DOCS / "settings.md" else page.read_text()


def _headings(text: str) -> set[str]:
    """
    List the headings of a page as links name them.
    """
    found = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in found}
