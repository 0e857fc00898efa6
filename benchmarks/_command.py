"""
The command line that all benchmarks share.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path

from benchmarks._report import Report
from benchmarks._workload import Fields, find_events, generate_events, load_events

__all__ = ["answer"]

_AT_HAND = "recorded ones where they are at hand, else generated ones"


def answer(
    question: str | None,
    measure: Callable[..., Report],
    *,
    find: Callable[[], list[Fields]] = find_events,
    extend: Callable[[ArgumentParser], None] | None = None,
) -> None:
    """
    Run a benchmark on the events that the command line names, and print its report.

    Args:
        question: The docstring of the benchmark.
        measure: Makes its report of the events, and of the options of its own.
        find: Finds the events where none are named.
        extend: Adds those options.
    """
    parser = ArgumentParser(description=question)
    parser.add_argument(
        "--events",
        type=Path,
        help="model events, one JSON object a line, gzipped; without it "
        + ("generated ones" if find is generate_events else _AT_HAND),
    )
    parser.add_argument("--json", type=Path, help="write the report there too, as data")
    if extend is not None:
        extend(parser)
    options = vars(parser.parse_args())
    path, data = options.pop("events"), options.pop("json")
    report = measure(load_events(path) if path else find(), **options)
    if data:
        data.write_bytes(report.to_json())
    print(report.to_markdown())
