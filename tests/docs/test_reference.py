"""
The pages to look things up in name all that there is: the API, commands, routes, limits, files.
"""

from __future__ import annotations

import json
import re
import runpy
import shlex
from collections.abc import Callable
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import click
import pytest

import hh_exporter
from benchmarks.__main__ import NAMES
from hh_exporter import testing
from hh_exporter._clock import SystemClock
from hh_exporter._collector import Collector, Faults
from hh_exporter._collector.connections import MAX_CONNECTIONS, Connections
from hh_exporter._collector.guard import Guard
from hh_exporter._collector.ingest.bodies import (
    BODY_TIMEOUT,
    MAX_BODY_BYTES,
    MAX_CONTAINERS,
    MAX_ROOM,
    Bodies,
)
from hh_exporter._collector.ingest.faults import _MAX_HANG, MAX_HANGING, FaultInjector
from hh_exporter._collector.query.keys import KEYS, ROOTS, read_asked
from hh_exporter._collector.query.language import MAX_TERMS, read_terms
from hh_exporter._collector.query.parameters import _MAX_TEXT, FILTERS
from hh_exporter._collector.query.reading import _DEFAULT_EVENTS, _MAX_EVENTS
from hh_exporter._collector.query.search import _SEARCHED_BYTES
from hh_exporter._collector.query.stream import _MAX_STREAMS
from hh_exporter._collector.routes import Routes
from hh_exporter._collector.storage.lists import _EXAMINED_BYTES, _EXAMINED_ROWS
from hh_exporter._collector.storage.schema import _MAX_LOG_BYTES, _QUICK_BYTES, _SPARE_BYTES
from tests.docs.pages import DOCS, PAGES, ROOT, examples

CLI_PAGE = runpy.run_path(str(DOCS / "cli_page.py"))
COMMANDS: dict[str, click.Command] = CLI_PAGE["COMMANDS"]
FILL_IN: Callable[[str], str] = CLI_PAGE["fill_in"]
PARENT: click.Context = CLI_PAGE["PARENT"]
INTEGRATIONS = ("aiohttp", "asgi", "genai", "opentelemetry", "prometheus")
"""Those that can be imported here; LiteLLM is tested by itself."""


def section(page: str, heading: str) -> str:
    """
    Read what stands below a heading, up to the next one.
    """
    [_, rest] = PAGES[page].split(f"\n## {heading}\n")
    return str(rest.split("\n## ")[0])


# The API.


def test_the_reference_has_each_public_name() -> None:
    """
    What may be imported is documented, and nothing else is.
    """
    public = {f"hh_exporter.{name}" for name in hh_exporter.__all__ if name != "__version__"}
    public |= {f"hh_exporter.testing.{name}" for name in testing.__all__}
    for name in INTEGRATIONS:
        module = import_module(f"hh_exporter.integrations.{name}")
        public |= {f"{module.__name__}.{each}" for each in module.__all__}
    listed = set(re.findall(r"^\.\. auto\w+:: ([\w.]+)", PAGES["api"], re.MULTILINE))

    aliases = {f"hh_exporter.events.Json{kind}" for kind in ("Array", "Object", "Objects", "Value")}
    assert listed == public | aliases | {"hh_exporter.integrations.litellm.ExporterLogger"}


# The command line.


def test_each_command_has_its_options() -> None:
    """
    The page has a table for each command, with all of its options.
    """
    page = FILL_IN(PAGES["cli"])
    placed = re.findall(r"<!-- options: (.*) -->", PAGES["cli"])

    assert sorted(placed) == sorted(COMMANDS)
    assert "<!--" not in page
    for command in COMMANDS.values():
        for option in command.params:
            if isinstance(option, click.Option):
                assert f"| `{option.opts[0]}" in page


@pytest.mark.parametrize("page", ["cli", "collector", "privacy", "spool"])
def test_each_command_line_can_be_read(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The options in examples are those of the commands.
    """
    monkeypatch.chdir(tmp_path)
    for name in ("events.jsonl", "sessions.jsonl"):
        Path(name).touch()
    lines = "".join(examples(PAGES[page], "sh")).splitlines()
    calls = [line.partition("hh-exporter ")[2] for line in lines if "hh-exporter " in line]

    assert calls
    for words in map(shlex.split, calls):
        path = " ".join(words[:2]) if " ".join(words[:2]) in COMMANDS else words[0]
        given = words[len(path.split()) :]
        assert COMMANDS[path].make_context(path, list(given), parent=PARENT).params


# The collector.


def routes() -> set[tuple[str, str]]:
    """
    List the routes of a collector, without its page.
    """
    clock = SystemClock()
    bodies = Bodies(clock)
    store: Any = None
    app = Routes(
        store=store,
        clock=clock,
        bodies=bodies,
        guard=Guard("127.0.0.1", None, clock, bodies),
        faults=FaultInjector(clock, lambda: 1.0, Faults()),
        connections=Connections(),
        note_update=lambda _: None,
    ).application()
    found = {(r.method, r.resource.canonical) for r in app.router.routes() if r.resource}
    return {(m, p) for m, p in found if m != "HEAD" and p != "/" and not p.startswith("/page/")}


def test_each_route_is_listed() -> None:
    """
    The table has each route of the collector, and no other.
    """
    listed = set(re.findall(r"`(GET|POST|PUT|DELETE) (/\S+)`", PAGES["collector-api"]))

    assert listed == routes()


def test_each_filter_is_listed() -> None:
    """
    The table has each filter, and no other.
    """
    table = PAGES["collector-api"].split("| filter | matches |")[1].split("\n\n")[0]
    rows = re.findall(r"^\| (`.*?`) \|", table, re.MULTILINE)

    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == FILTERS.keys()


def test_each_key_of_the_filter_language_is_listed() -> None:
    """
    The table has each key, and no other, in terms that are read.
    """
    table = section("page", "Filter language")
    rows = re.findall(r"^\| (`.*?`) \|", table, re.MULTILINE)
    written = [example for row in rows for example in re.findall(r"`(.*?)`", row)]
    paths = re.findall(r"`(\w+)\.…`", table)

    read = [term for example in written for term in read_terms(example)]
    assert all(map(read_asked, written))
    assert {term.key[0] for term in read if term.key} | {*paths} == {*KEYS, *ROOTS}


def test_the_limits_of_the_collector_are_the_codes() -> None:
    """
    Each figure of the page is that of a constant.
    """
    for said in (
        f"| request body | {MAX_BODY_BYTES:,} bytes,",
        f"| objects and arrays in a body | {MAX_CONTAINERS:,} |",
        f"| time for a body to arrive | {BODY_TIMEOUT:g} s |",
        f"| all bodies being read | {MAX_ROOM // 2**20} MiB |",
        f"| connections | {MAX_CONNECTIONS} |",
        f"| streams | {_MAX_STREAMS} |",
        f"| terms of a filter | {MAX_TERMS}, and {_MAX_TEXT:,} characters |",
        f"| hanging requests | {MAX_HANGING} |",
        f"| {_EXAMINED_ROWS:,} rows or {_EXAMINED_BYTES // 2**20} MiB of text |",
        f"| text searched for a sum, a chart or a sorted list | {_SEARCHED_BYTES // 2**20} MiB |",
        f"no response, for up to {_MAX_HANG / 60:g} minutes",
        f"| events stored | {Collector().max_events:,}, ",
        f" {(Collector().max_bytes or 0) // 2**30} GB, `--max-bytes`; ",
        f"keeps up to {_SPARE_BYTES // 2**20} MB of free space",
        f"`-wal`, has up to {_MAX_LOG_BYTES // 2**20} MB",
        f"holds less than {_QUICK_BYTES // 2**20} MB",
    ):
        assert said in PAGES["collector"], said
    assert f"`limit` ({_DEFAULT_EVENTS}; at most {_MAX_EVENTS:,})" in PAGES["collector-api"]


async def test_the_requests_of_the_page_are_answered() -> None:
    """
    Each example of curl is, and faults are set as they are sent.
    """
    blocks = [*examples(PAGES["collector"], "sh"), *examples(PAGES["collector-api"], "sh")]
    lines = "".join(blocks).replace("\\\n", "").splitlines()
    calls = [shlex.split(line) for line in lines if line.startswith("curl ")]
    async with Collector() as collector, aiohttp.ClientSession() as client:
        for words in calls:
            [url] = [word for word in words if word.startswith("http:")]
            given = dict(pairwise(words))
            method, data = given.get("-X", "GET"), given.get("-d")
            headers = {"Content-Type": "application/json"} if data else {}
            address = url.replace("http://127.0.0.1:8765", collector.url)
            query = dict(word.split("=", 1) for word in words if word.startswith("filter="))
            async with client.request(
                method, address, params=query, data=data, headers=headers
            ) as response:
                assert response.status == 200, await response.text()
                if data:
                    assert await response.json() == json.loads(data)

    assert len(calls) > 4  # or they were not found


# The rest.


def test_the_benchmarks_of_the_page_can_be_run() -> None:
    """
    Each name that is given to `python -m benchmarks` is one.
    """
    [block] = examples(PAGES["benchmarks"], "sh")
    calls = re.findall(r"python -m benchmarks(.*?)(?:#|$)", block, re.MULTILINE)

    named = {word for words in calls for word in re.sub(r"--plot \S+", "", words).split()}
    assert named
    assert named <= set(NAMES)


def test_each_file_to_change_exists() -> None:
    """
    Where the guide for contributors sends its reader, there is something.
    """
    paths = re.findall(r"`((?:hh_exporter|tests)/[\w/.]+)`", PAGES["extending"])

    assert len(paths) > 15
    assert [path for path in paths if "NAME" not in path and not (ROOT / path).exists()] == []
