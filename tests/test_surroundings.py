"""
The suite finds the same surroundings wherever it runs.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.conftest import pytest_xdist_auto_num_workers
from tests.surroundings import KEPT

ROOT = Path(__file__).parents[1]
CORES = len(os.sched_getaffinity(0))


def test_nothing_comes_in_from_outside() -> None:
    """
    Variables, time zone, home, umask and SIGINT are those that the suite has chosen.
    """
    for name in ("TERM", "COLUMNS", "CI", "LC_ALL", "PYTHONWARNINGS", "HTTP_PROXY", "HH_API_KEY"):
        assert name not in os.environ
    assert "PYTHONDONTWRITEBYTECODE" not in os.environ
    assert Path.home().name.startswith("hh-home-")
    assert time.timezone == 0
    umask = os.umask(0)
    os.umask(umask)
    assert umask == 0o022
    assert signal.getsignal(signal.SIGINT) is not signal.SIG_IGN


@pytest.mark.parametrize("workers", [0, 1])
def test_the_surroundings_of_a_run_do_not_reach_its_tests(workers: int) -> None:
    """
    In hostile ones the test above passes, in the process that was started and in a worker.
    """
    # Without what tells a pytest that another one runs it.
    ours = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "COV"))}
    this = f"{__file__}::{test_nothing_comes_in_from_outside.__name__}"
    python = (sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", f"-n{workers}", this)
    done = subprocess.run(
        [ROOT / ".ci" / "hostile", *python],
        cwd=ROOT,
        env=ours,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
    assert ("[gw0]" in done.stdout) == bool(workers)


@pytest.mark.parametrize("name", ["PATH", "TMPDIR", "PYTHONPATH", "PYTEST_XDIST_WORKER", "COV_X"])
def test_what_finds_programs_and_packages_stays(name: str) -> None:
    """
    Neither the programs that tests start nor what measures them would work without.
    """
    assert KEPT.fullmatch(name)


@pytest.mark.parametrize(
    ("arguments", "workers"),
    [
        (["tests"], CORES * 3 // 2),
        (["tests/"], CORES * 3 // 2),
        (["tests/queue", "tests/spool"], 0),
        (["tests/queue/test_queue.py::test_it"], 0),
    ],
)
def test_workers_are_for_the_whole_suite(
    pytestconfig: pytest.Config, arguments: list[str], workers: int
) -> None:
    """
    A part of it runs in the process that was started.
    """
    config: Any = SimpleNamespace(args=arguments, getini=pytestconfig.getini)

    assert pytest_xdist_auto_num_workers(config) == workers
