"""
Both forms of what clients return.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hh_exporter import Exporter
from tests.conftest import BuildExporter
from tests.responses.shapes import Hook, as_objects


@pytest.fixture
def exporter(build_exporter: BuildExporter) -> Exporter:
    """
    One that keeps what it would send: see `sent_by`.
    """
    return build_exporter(before_send=Hook())


@pytest.fixture(params=[dict, as_objects], ids=["data", "objects"])
def form(request: pytest.FixtureRequest) -> Callable[[Any], Any]:
    """
    Make of parsed JSON what the client returns: that, or objects.
    """
    made: Callable[[Any], Any] = request.param
    return made
