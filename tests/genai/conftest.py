"""
The server that the clients ask.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.genai.server import ModelServer


@pytest.fixture
def models() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server
