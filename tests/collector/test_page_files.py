"""
The files of the collector's page, without a browser: what is served, and what is not.
"""

from __future__ import annotations

import re
from graphlib import TopologicalSorter
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from aiohttp import ClientSession
from yarl import URL

import hh_exporter._collector
from hh_exporter._collector import Collector

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PAGE = Path(str(files(hh_exporter._collector))) / "page"
OWN = sorted(path for path in PAGE.rglob("*.[jc]s*") if "vendor" not in path.parts)
MODULES = [path for path in OWN if path.suffix == ".js"]
MARKUP = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|srcdoc|createContextual"
    r"|setHTML|\beval\b|new Function|setAttribute\(.style|\.(?:src|href)\s*="
)
ADDRESS = re.compile(r"https?://|//[a-z]+\.[a-z]")
# From top to bottom: a folder's modules import from it, and from folders further down.
FLOORS = (
    ("js",),  # main.js puts the page together
    ("charts", "event", "lists"),  # what stands beside each other on the page
    ("ask", "trace"),  # the filter and its address; the events of a session as a tree
    ("content",),  # texts and values of an event, as elements
    ("shapes",),  # where each API keeps what, as plain data
    ("common",),
    ("uplot", "markdown-it"),
)
IMPORT = re.compile(r'^(?:import|\}|export) ?(?:.* from )?"(\.[^"]+)";$', re.MULTILINE)
REFERENCE = re.compile(r'(?:src|href)="([^"]+)"|from "(\.[^"]+)"')


def _name(path: Path) -> str:
    return path.relative_to(PAGE).as_posix()


@pytest.fixture
async def client() -> AsyncIterator[ClientSession]:
    async with Collector() as collector, ClientSession(collector.url) as client:
        yield client


async def test_all_that_the_page_is_made_of_is_served(client: ClientSession) -> None:
    """
    Whatever a file refers to is there, in its type, from the first file on.
    """
    kinds = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
    waiting, seen = ["/"], {"/"}
    while waiting:
        path = waiting.pop()
        async with client.get(path) as response:
            assert response.status == 200, path
            text = await response.text()
            assert response.content_type == kinds.get(path.rpartition(".")[2], "text/html")
        for absolute, relative in REFERENCE.findall(text):
            found = absolute or str(URL(path).join(URL(relative)))
            if found not in seen:
                seen.add(found)
                waiting.append(found)

    served = {f"/page/{path.relative_to(PAGE).as_posix()}" for path in OWN}
    assert served < seen


async def test_what_a_browser_has_is_not_sent_again(client: ClientSession) -> None:
    """
    A file is asked for each time, and answered with 304 unless it changed.
    """
    async with client.get("/page/js/main.js") as response:
        tag = response.headers["ETag"]
        assert response.headers["Cache-Control"] == "no-cache"

    async with client.get("/page/js/main.js", headers={"If-None-Match": tag}) as response:
        assert (response.status, await response.read()) == (304, b"")


@pytest.mark.parametrize(
    "path",
    [
        "/page/index.html/",
        "/page/",
        "/page/js",
        "/page/vendor/uplot/LICENSE",
        "/page/../routes.py",
        "/page/js/../../routes.py",
        "/page/%2e%2e/routes.py",
        "/page/js/..%2f..%2froutes.py",
        "/page//etc/passwd",
        "/page/%00",
        "/etc/passwd",
    ],
)
async def test_no_other_path_is_a_file(client: ClientSession, path: str) -> None:
    """
    What is not in the table is not there, whatever lies on the disk.
    """
    async with client.get(URL(path, encoded=True)) as response:
        assert response.status == 404


@pytest.mark.parametrize("path", OWN, ids=_name)
def test_each_file_keeps_the_rules(path: Path) -> None:
    """
    It says what it is, makes no markup, names no outside address and tells one story.
    """
    text = path.read_text()

    assert text.startswith("/*\n * ")
    assert MARKUP.findall(text) == []
    assert ADDRESS.findall(text) == []
    assert len(text.splitlines()) < 400


def _imports(path: Path) -> list[Path]:
    return [(path.parent / found).resolve() for found in IMPORT.findall(path.read_text())]


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_folders_import_downwards(path: Path) -> None:
    """
    A module imports from its own folder and from those on lower floors, and from no other.
    """
    floors = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
    room = path.parent.name
    others = {found.parent.name for found in _imports(path)} - {room}

    assert {other for other in others if floors[other] <= floors[room]} == set()


def test_modules_import_in_no_circle() -> None:
    """
    The modules of a folder have an order, too: each can be read after those that it imports.
    """
    assert list(TopologicalSorter({path: _imports(path) for path in MODULES}).static_order())


@pytest.mark.parametrize(
    ("file", "beginning"),
    [
        ("uplot/uPlot.esm.js", "/**\n* Copyright (c) 2025, Leon Sorokin"),
        ("markdown-it/markdown-it.esm.min.js", "/*! markdown-it 15.0.3 https://github.com/"),
    ],
)
def test_libraries_have_their_licences(file: str, beginning: str) -> None:
    """
    What is not ours stands apart, unchanged, with its terms and those of what is in it.
    """
    library = PAGE / "vendor" / file

    assert library.read_text().startswith(beginning)
    terms = (library.parent / "LICENSE").read_text()
    assert "Permission is hereby granted, free of charge" in terms
    for part in set(re.findall(r"node_modules/([a-z.-]+)/", library.read_text())):
        assert f" {part}" in terms
