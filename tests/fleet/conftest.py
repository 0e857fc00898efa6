"""
Servers that tests of the fleet share.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.fake_nats import FakeNats


@pytest.fixture
async def fake_nats() -> AsyncIterator[FakeNats]:
    """
    A NATS server that misbehaves as it is told.
    """
    async with FakeNats() as server:
        yield server
