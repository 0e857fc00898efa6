"""
The command line that all benchmarks share.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks._report import Report
from benchmarks._workload import Fields, find_events, load_events

__all__ = ["answer"]


def answer(question: str | None, measure: Callable[[Sequence[Fields]], Report]) -> None:
    """
    Run a benchmark on the events that the command line names, and print its report.

    Args:
        question: The docstring of the benchmark.
        measure: Makes its report.
    """
    parser = ArgumentParser(description=question)
    parser.add_argument(
        "--events",
        type=Path,
        help="model events, one JSON object a line, gzipped; without it recorded ones where they "
        "are at hand, else generated ones",
    )
    parser.add_argument("--json", type=Path, help="write the report there too, as data")
    arguments = parser.parse_args()
    report = measure(load_events(arguments.events) if arguments.events else find_events())
    if arguments.json:
        arguments.json.write_bytes(report.to_json())
    print(report.to_markdown())
