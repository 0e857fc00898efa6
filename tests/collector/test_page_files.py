"""
The files of the collector's page, without a browser: what is served, and what is not.
"""

from __future__ import annotations

import re
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
MARKUP = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|srcdoc|createContextual"
    r"|setHTML|\beval\b|new Function|setAttribute\(.style|\.(?:src|href)\s*="
)
ADDRESS = re.compile(r"https?://|//[a-z]+\.[a-z]")
REFERENCE = re.compile(r'(?:src|href)="([^"]+)"|from "(\.[^"]+)"')


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


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.name)
def test_each_file_keeps_the_rules(path: Path) -> None:
    """
    It says what it is, makes no markup, names no outside address and tells one story.
    """
    text = path.read_text()

    assert text.startswith("/*\n * ")
    assert MARKUP.findall(text) == []
    assert ADDRESS.findall(text) == []
    assert len(text.splitlines()) < 400


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
