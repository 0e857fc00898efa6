"""
Both forms of what clients return.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hh_exporter import Exporter
from tests.conftest import BuildExporter
from tests.responses.shapes import as_objects


@pytest.fixture
def exporter(build_exporter: BuildExporter) -> Exporter:
    """
    One that sends nothing: events are looked at when their block has ended.
    """
    return build_exporter(disabled=True)


@pytest.fixture(params=[dict, as_objects], ids=["data", "objects"])
def form(request: pytest.FixtureRequest) -> Callable[[Any], Any]:
    """
    Make of parsed JSON what the client returns: that, or objects.
    """
    made: Callable[[Any], Any] = request.param
    return made
