"""
Fixtures of what is captured.
"""

from __future__ import annotations

import pytest

from hh_exporter import Exporter
from tests.capture.tracing import Traced


@pytest.fixture
async def traced(exporter: Exporter) -> Traced:
    return Traced(exporter)
