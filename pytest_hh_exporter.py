"""
The pytest plugin of hh_exporter: the fixture `hh_kit`.

Beside the package, not in it: pytest imports plugins in every run, and who does not use
this one shall not pay for more than these lines.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from hh_exporter.testing import Kit

__all__ = ["hh_kit"]


@pytest.fixture
def hh_kit(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kit]:
    """
    A collector in this process, and exporters that talk to it: hh_exporter.testing.Kit.

    Settings from outside are put aside, and HH_API_URL leads to the collector: an exporter
    that your program makes during the test talks to it, too.
    """
    from hh_exporter.testing import Kit

    for name in [name for name in os.environ if name.startswith("HH_")]:
        monkeypatch.delenv(name)
    with Kit() as kit:
        monkeypatch.setenv("HH_API_URL", kit.url)
        yield kit
