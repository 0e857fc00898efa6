"""
`hh-exporter demo --fleet`: a fleet on one machine, of which parts die.
"""

from __future__ import annotations

import re
import sys

import pytest

from tests.command import call, run
from tests.nats import needs_server


@needs_server
async def test_a_fleet_loses_nothing_when_parts_of_it_die() -> None:
    """
    All that was pushed arrives once, and the books of those who are left say so.
    """
    finished = await run("demo", "--fleet")

    assert finished.status == 0, finished.stderr
    assert "relay 1 is killed" in finished.stderr
    assert re.search(r"server n\d, which led the stream, is killed", finished.stderr)
    assert "All books balance.\nAll 1,440 events arrived as they were pushed, each once." in (
        finished.stdout
    )


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What is missing is nats-py.
    """
    monkeypatch.setitem(sys.modules, "hh_exporter._cli._fleet_demo", None)

    finished = call("demo", "--fleet")

    assert finished.status == 2
    assert "needs the extra fleet" in finished.stderr
