"""
Fixtures of the whole suite, and the check that no test leaves anything open.
"""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import pytest
from hypothesis import settings

from hh_exporter import BatchLimits, Exporter, _log
from hh_exporter._cli._cluster import Cluster
from hh_exporter._collector import Collector
from hh_exporter._dialects.registry import DIALECTS
from tests import nats
from tests.browser import Browser, find_chromium, started_browser
from tests.scripted_server import ScriptedServer
from tests.support import PATIENCE, FakeClock, assert_balanced
from tests.surroundings import seal

KEY = "hh_test_key"

in_both_dialects = pytest.mark.parametrize("dialect", list(DIALECTS))
"""Run a test once with exporters of each dialect."""


# The same examples each time: a new failure is a change's, not an accident's. The long forms
# choose theirs anew.
settings.register_profile("ordinary", derandomize=True, max_examples=50, deadline=None)
settings.load_profile("ordinary")


@pytest.hookimpl(trylast=True)  # once pytest knows how its own output shall look
def pytest_configure(config: pytest.Config) -> None:
    """
    Shut out the environment, in this process and in the workers that it starts.
    """
    home = TemporaryDirectory(prefix="hh-home-", ignore_cleanup_errors=True)
    config.add_cleanup(home.cleanup)
    seal(Path(home.name))


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """
    Start workers for the whole suite alone: for a wing of it that takes longer than its tests.

    There is one more for every two cores, since many tests wait for programs of their own.
    """
    wanted = [argument.rstrip("/") for argument in config.args]
    is_all = wanted == config.getini("testpaths")
    return len(os.sched_getaffinity(0)) * 3 // 2 if is_all else 0


class BuildExporter(Protocol):
    """
    Makes an exporter that is closed, and balanced, when the test ends.
    """

    def __call__(self, **arguments: Any) -> Exporter: ...


class MakeExporter(Protocol):
    """
    Makes a started exporter that is closed, and balanced, when the test ends.
    """

    async def __call__(self, **arguments: Any) -> Exporter: ...


@pytest.fixture(scope="session", autouse=True)
def _imports_are_not_garbage() -> None:
    """
    Spare the collection after each test what the imports made: most of its time.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """
    Chromium, started once for all tests that look at the page.
    """
    found = find_chromium()
    if found is None:
        pytest.skip("needs Chromium")
    with started_browser(*found) as browser:
        yield browser


@pytest.fixture
async def page(browser: Browser, collector: Collector) -> AsyncIterator[Browser]:
    """
    The page of the test's `collector`, open; it must log nothing, and ask nobody else.
    """
    await browser.reset()
    await browser.open(collector.url)
    own = f"{collector.url}/"
    yield browser
    asked = await browser.requests()
    assert asked
    assert [address for address in asked if not address.startswith(own)] == []
    assert await browser.problems() == []
    await browser.open("about:blank")


@pytest.fixture(scope="session")
def _shared_nats_server() -> Iterator[Cluster]:
    with nats.running(Cluster(size=1)) as cluster:
        yield cluster


@pytest.fixture
def nats_server(_shared_nats_server: Cluster) -> Iterator[Cluster]:
    """
    One NATS server with JetStream, without streams; what a test makes there is deleted.
    """
    with nats.emptied(_shared_nats_server) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def _shared_cluster() -> Iterator[Cluster]:
    with nats.running(Cluster()) as cluster:
        yield cluster


@pytest.fixture
def cluster(_shared_cluster: Cluster) -> Iterator[Cluster]:
    """
    Three NATS servers, likewise; a test must not end, freeze or fill any.
    """
    with nats.emptied(_shared_cluster) as cluster:
        yield cluster


@pytest.fixture
def hurt_cluster() -> Iterator[Cluster]:
    """
    Three NATS servers of a test's own, which it may do anything to.
    """
    with nats.running(Cluster()) as cluster:
        yield cluster


@pytest.fixture(autouse=True)
def _nothing_logged_before() -> Iterator[None]:
    """
    Have each test log anew what a process logs once.
    """
    yield
    _log._reported.clear()


@pytest.fixture(autouse=True)
def _nothing_left_open() -> Iterator[None]:
    """
    Fail a test that leaves a thread or a file descriptor behind.
    """
    threads = set(threading.enumerate())
    descriptors = _descriptors()
    yield
    gc.collect()
    gc.freeze()  # what is still there need not be looked at after each later test
    left = [t for t in threading.enumerate() if t not in threads]
    for thread in left:
        if thread.name.startswith(("hh_exporter ", "asyncio-waitpid")):
            thread.join(PATIENCE)  # to say that it is done was the last that it did
    left = [t for t in left if t.is_alive()]
    assert not left, left
    opened = {fd: to for fd, to in _descriptors().items() if fd not in descriptors}
    assert not [to for to in opened.values() if "socket" in to or "sqlite" in to], opened


def _descriptors() -> dict[str, str]:
    found = {}
    for link in Path("/proc/self/fd").glob("*"):
        try:
            found[link.name] = str(link.readlink())
        except OSError:
            continue
    return found


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with ScriptedServer() as server:
        yield server


@pytest.fixture
def dialect() -> str:
    """
    What exporters speak, where a test is not run `in_both_dialects`.
    """
    return "legacy"


@pytest.fixture
async def build_exporter(
    server: ScriptedServer, clock: FakeClock, dialect: str
) -> AsyncIterator[BuildExporter]:
    """
    Exporters for `server` on the fake `clock`, with jitter at its upper bound, not started.
    """
    built: list[Exporter] = []

    def build(**arguments: Any) -> Exporter:
        defaults: dict[str, Any] = {
            "api_key": KEY,
            "base_url": server.url,
            "dialect": dialect,
            "batch": BatchLimits(linger=1.0),
            "_clock": clock,
            "_random": lambda: 1.0,
        }
        exporter = Exporter(**defaults | arguments)
        built.append(exporter)
        return exporter

    yield build
    for exporter in built:
        async with asyncio.timeout(PATIENCE):
            await exporter.aclose(0.0)
        stats = assert_balanced(exporter)
        assert not stats.queued
        assert not stats.in_flight
    others = asyncio.all_tasks() - {asyncio.current_task()}
    assert not [task for task in others if "hh_exporter" in repr(task)], others


@pytest.fixture
def make_exporter(build_exporter: BuildExporter) -> MakeExporter:
    """
    The same, started.
    """

    async def make(**arguments: Any) -> Exporter:
        exporter = build_exporter(**arguments)
        await exporter.start()
        return exporter

    return make


@pytest.fixture
async def exporter(make_exporter: MakeExporter) -> Exporter:
    return await make_exporter()


@pytest.fixture
def hurt_server() -> Iterator[Cluster]:
    """
    One NATS server of a test's own, likewise.
    """
    with nats.running(Cluster(size=1)) as cluster:
        yield cluster
