"""
`hh-exporter demo --fleet`: a fleet on one machine, of which parts die.
"""

from __future__ import annotations

import re
import sys

import pytest

from hh_exporter._cli._fleet_demo import fleet_demo
from hh_exporter._cli._report import Report
from hh_exporter._collector import Collector
from tests.command import call
from tests.nats import needs_server


@needs_server
async def test_a_fleet_loses_nothing_when_parts_of_it_die(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """
    All that was pushed arrives once, and the books of those who are left say so.
    """
    is_right = await fleet_demo(Collector(), Report(), keep=False)
    shown = capsys.readouterr()

    assert is_right, shown
    assert "relay 1 is killed" in shown.err
    assert re.search(r"server n\d, which led the stream, is killed", shown.err)
    assert "All books balance.\nAll 1,440 events arrived as they were pushed, each once." in (
        shown.out
    )


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What is missing is nats-py.
    """
    monkeypatch.setitem(sys.modules, "hh_exporter._cli._fleet_demo", None)

    finished = call("demo", "--fleet")

    assert finished.status == 2
    assert "needs the extra fleet" in finished.stderr
