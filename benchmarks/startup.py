"""
What does importing the exporter take, against importing what it stands on?
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import orjson
from attrs import frozen

import hh_exporter
from benchmarks._command import answer
from benchmarks._report import Report, Row, Table
from benchmarks._rounds import compare, interleave
from benchmarks._workload import Fields

ROUNDS = 25
WARM_UP = 2
"""Rounds after which the bytecode of all modules is cached."""

NEEDS = ("aiohttp", "attrs", "cattrs", "orjson", "tenacity")
DEPENDENCIES = "the dependencies"
PACKAGE = "the exporter"
EXPORTER = "the exporter, and making one"
ANOTHER = "making another one"
_MAKE = "Exporter(base_url='http://127.0.0.1:1')"
STATEMENTS = {
    DEPENDENCIES: f"import {', '.join(NEEDS)}",
    PACKAGE: "from hh_exporter import Exporter",
    EXPORTER: f"from hh_exporter import Exporter; {_MAKE}",
    ANOTHER: _MAKE,
}
BEFORE = {ANOTHER: STATEMENTS[EXPORTER]}
"""What has run already when the watch starts."""
AT_MOST = {PACKAGE: 1.1, ANOTHER: 0.005}

_STOPWATCH = """
import time
{}
cpu, wall = time.process_time(), time.perf_counter()
{}
print([time.perf_counter() - wall, time.process_time() - cpu])
"""
_NAME = re.compile(r"[\w.-]+")


@frozen
class Cost:
    """
    Seconds that a statement took in a fresh process.
    """

    wall: float
    cpu: float


async def measure(*, rounds: int = ROUNDS, warm_up: int = WARM_UP) -> dict[str, list[Cost]]:
    """
    Run each statement in a fresh process, once a round.
    """
    with TemporaryDirectory() as cache:
        return await interleave(
            {
                name: partial(_time, BEFORE.get(name, ""), statement, cache)
                for name, statement in STATEMENTS.items()
            },
            rounds=rounds,
            warm_up=warm_up,
        )


async def _time(before: str, statement: str, cache: str) -> Cost:
    # All bytecode is found there, wherever else it may or may not be written.
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": cache, "PYTHONDONTWRITEBYTECODE": ""}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        _STOPWATCH.format(before, statement),
        cwd=Path(__file__).parents[1],
        env=environment,
        stdout=subprocess.PIPE,
    )
    output, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"{statement!r} failed")
    return Cost(*orjson.loads(output))


def find_needs(names: Iterable[str]) -> set[str]:
    """
    List the distributions *names*, and all that is installed of what they require.
    """
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop().lower().replace("_", "-")
        if name in found:
            continue
        try:
            requirements = distribution(name).requires or []
        except PackageNotFoundError:
            continue  # not for this machine
        found.add(name)
        own = [text for text in requirements if "extra ==" not in text]
        waiting += [match[0] for text in own if (match := _NAME.match(text))]
    return found


def measure_sizes() -> dict[str, int]:
    """
    Add up the bytes of the files that are installed, bytecode left out.
    """
    files = [file for name in find_needs(NEEDS) for file in distribution(name).files or []]
    return {
        DEPENDENCIES: _add_up(Path(str(file.locate())) for file in files),
        PACKAGE: _add_up(Path(hh_exporter.__file__).parent.rglob("*")),
    }


def _add_up(paths: Iterable[Path]) -> int:
    return sum(path.stat().st_size for path in paths if path.is_file() and path.suffix != ".pyc")


def report(
    costs: Mapping[str, Sequence[Cost]], sizes: Mapping[str, int], *, warm_up: int = WARM_UP
) -> Report:
    """
    Say what the figures mean that `measure` and `measure_sizes` return.
    """
    walls = {name: [cost.wall for cost in figures] for name, figures in costs.items()}
    time = Table(
        title="Import",
        setting=(
            f"A fresh process each time; {warm_up} rounds to warm up, then "
            f"{len(costs[DEPENDENCIES])}.\n"
            + "\n".join(f"{name}: {statement}" for name, statement in STATEMENTS.items())
        ),
        figure=f"time, over that of {DEPENDENCIES}",
        rows=[
            Row(
                name=name,
                figures=compare(figures, walls[DEPENDENCIES]),
                orientation=_describe(costs[name]),
                at_most=AT_MOST.get(name),
            )
            for name, figures in walls.items()
        ],
    )
    size = Table(
        title="Installed size",
        setting=f"Files without bytecode; of {', '.join(sorted(find_needs(NEEDS)))}.",
        figure=f"bytes, over those of {DEPENDENCIES}",
        rows=[
            Row(name=name, figures=[bytes_ / sizes[DEPENDENCIES]], orientation=f"{bytes_:,} bytes")
            for name, bytes_ in sizes.items()
        ],
    )
    return Report(
        name="startup", question=(__doc__ or "").strip(), workload="No events.", tables=[time, size]
    )


def _describe(costs: Sequence[Cost]) -> str:
    wall = median(cost.wall for cost in costs) * 1000
    cpu = median(cost.cpu for cost in costs) * 1000
    return f"{wall:.3g} ms; CPU {cpu:.3g} ms"


def run(_: Sequence[Fields]) -> Report:
    return report(asyncio.run(measure()), measure_sizes())


if __name__ == "__main__":
    answer(__doc__, run)
