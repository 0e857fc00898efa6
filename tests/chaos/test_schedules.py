"""
Whatever the network and the server do: what was said of each event is the truth.

A failure names the seed that it came from; CHAOS_SEED begins a long run there.
"""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import Callable
from typing import Any

import pytest

from hh_exporter import Exporter, Spool
from tests.chaos.proxy import Certificates
from tests.chaos.story import Story
from tests.conftest import in_both_dialects

FIRST = int(os.environ.get("CHAOS_SEED", "1000"))
STORIES = int(os.environ.get("CHAOS_STORIES", "300"))

IN_MEMORY, SPOOLED, DURABLE = "in memory", "memory first", "durable"
kinds = pytest.mark.parametrize("kind", [IN_MEMORY, SPOOLED, DURABLE])


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "hh_exporter")


@pytest.fixture
def tell(
    certificates: Certificates,
    trusted: ssl.SSLContext,
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., Any]:
    """
    Tell the story of a seed; every other one is over TLS.
    """

    async def tell(seed: int, dialect: str, kind: str) -> None:
        tls = seed % 2 == 1
        settings: dict[str, Any] = {"ssl_context": trusted} if tls else {}
        if kind != IN_MEMORY:
            directory = tmp_path_factory.mktemp("spool") / "events"
            settings["spool"] = Spool(directory, durable=kind == DURABLE)
        story = Story(
            seed=seed,
            dialect=dialect,
            make=Exporter,
            certificates=certificates if tls else None,
            settings=settings,
        )
        await story.tell()

    return tell


@in_both_dialects
@pytest.mark.parametrize(
    ("kind", "seed"),
    [
        *((IN_MEMORY, seed) for seed in (1, 8, 19)),
        (SPOOLED, 7),
        (DURABLE, 19),
    ],
)
async def test_the_truth_is_told_after_any_schedule_of_faults(
    tell: Callable[..., Any], kind: str, dialect: str, seed: int
) -> None:
    """
    Once the faults stop, the server, the wire and the books agree on every event.
    """
    await tell(seed, dialect, kind)


@kinds
@in_both_dialects
@pytest.mark.soak
@pytest.mark.timeout(0)
async def test_the_truth_is_told_after_very_many_schedules(
    tell: Callable[..., Any], kind: str, dialect: str
) -> None:
    """
    The same holds for the stories of CHAOS_STORIES seeds.
    """
    for seed in range(FIRST, FIRST + STORIES):
        await tell(seed, dialect, kind)
