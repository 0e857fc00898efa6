"""
What the tests of this wing record with.
"""

from __future__ import annotations

import pytest

from tests.recording.recorder import Recorder
from tests.support import FakeClock


@pytest.fixture
def recorder(clock: FakeClock) -> Recorder:
    return Recorder(clock)
