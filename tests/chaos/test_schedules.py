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

from tests.chaos.proxy import Certificates
from tests.chaos.story import EXPORTERS, Story
from tests.conftest import in_both_dialects

FIRST = int(os.environ.get("CHAOS_SEED", "1000"))
STORIES = int(os.environ.get("CHAOS_STORIES", "300"))

kinds = pytest.mark.parametrize("kind", list(EXPORTERS))


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "hh_exporter")


@pytest.fixture
def tell(certificates: Certificates, trusted: ssl.SSLContext) -> Callable[..., Any]:
    """
    Tell the story of a seed; every other one is over TLS.
    """

    async def tell(seed: int, dialect: str, kind: str) -> None:
        tls = seed % 2 == 1
        story = Story(
            seed=seed,
            dialect=dialect,
            make=EXPORTERS[kind],
            certificates=certificates if tls else None,
            settings={"ssl_context": trusted} if tls else {},
        )
        await story.tell()

    return tell


@kinds
@in_both_dialects
@pytest.mark.parametrize("seed", [1, 7, 8, 19])
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
