"""
The server that the clients ask, and the collector that gets their events.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from typing import Any

import pytest
from attrs import frozen

from hh_exporter import BatchLimits, Exporter
from hh_exporter._exporter import ThreadedExporter
from hh_exporter.testing import Kit
from tests.genai.families import ENVIRON, LAYERS
from tests.genai.server import ModelServer


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """
    Let clients warn as they like, but none of ours.
    """
    for item in items:
        if "genai" in item.path.parts:
            item.add_marker(pytest.mark.filterwarnings("error:::hh_exporter"))
            item.add_marker(pytest.mark.filterwarnings("ignore"))


IS_ANY_HERE = any(layer.is_here for layer in LAYERS)
"""Elsewhere, where other tests share the process, nothing is changed for clients."""


@pytest.fixture(autouse=True)
def _nothing_left_open() -> Iterator[None]:
    """
    Let clients keep what they open: threads and connections for the next call.
    """
    yield
    if IS_ANY_HERE:
        gc.collect()
        gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _surroundings() -> Iterator[None]:
    """
    Have what is imported find the settings that it reads then.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRON.items() if IS_ANY_HERE else ():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="module")
def bare_surroundings() -> Iterator[None]:
    """
    Take those settings away again, for programs that need none.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name in ENVIRON:
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="session")
def runner() -> Iterator[asyncio.Runner]:
    """
    The loop of all async clients.
    """
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture
def models() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@frozen
class Exported:
    """
    An exporter, and what the collector got from it.
    """

    kit: Kit
    exporter: ThreadedExporter

    def events(self) -> list[dict[str, Any]]:
        """
        List the events of calls of models, once all have arrived.
        """
        assert self.exporter.flush_sync().left == 0
        return self.kit.events("model")


@pytest.fixture
def exported() -> Iterator[Exported]:
    with Kit() as kit:
        exporter = Exporter.in_thread(base_url=kit.url, dialect="v1", batch=BatchLimits(linger=0.0))
        with exporter:
            yield Exported(kit, exporter)
