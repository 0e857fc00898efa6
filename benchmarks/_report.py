"""
What a benchmark answers: tables of figures, and the machine that they hold for.

A report is data. Each benchmark prints its own as Markdown; `python -m
benchmarks` collects those of all into one.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median, quantiles

import cattrs.preconf.orjson
from attrs import Factory, frozen

from hh_exporter import __version__

__all__ = ["Report", "Row", "Table", "find_versions", "read_report"]

_PACKAGES = ("aiohttp", "attrs", "cattrs", "orjson", "tenacity")

_converter = cattrs.preconf.orjson.make_converter()


@frozen(kw_only=True)
class Row:
    """
    One variant, and how it did.
    """

    name: str
    figures: Sequence[float]
    """One for each round; the median counts."""
    orientation: str = ""
    """Absolute figures with their units, which prove nothing."""
    at_least: float | None = None
    at_most: float | None = None

    @property
    def middle(self) -> float:
        return median(self.figures)

    @property
    def target(self) -> str:
        """
        Say what the median should be, and whether it is; empty without a target.
        """
        if self.at_most is not None:
            bound, is_met = f"≤ {self.at_most:g}", self.middle <= self.at_most
        elif self.at_least is not None:
            bound, is_met = f"≥ {self.at_least:g}", self.middle >= self.at_least
        else:
            return ""
        return f"{bound}: {'met' if is_met else 'MISSED'}"

    @property
    def spread(self) -> str:
        """
        Name the quartiles of the figures.
        """
        if len(self.figures) == 1:
            return ""
        low, _, high = quantiles(self.figures, n=4)
        return f"{low:.2f} to {high:.2f}"


@frozen(kw_only=True)
class Table:
    """
    Variants that were measured side by side.
    """

    title: str
    setting: str
    """What was done, with what, and how often."""
    figure: str
    """What a figure is, such as what is divided by what, with its unit if it has one."""
    rows: Sequence[Row]


def find_versions(*peers: str) -> dict[str, str]:
    """
    Name what ran: Python, us, what we stand on, and the distributions named.
    """
    own = {"Python": platform.python_version(), "hh_exporter": __version__}
    return own | {name: version(name) for name in (*_PACKAGES, *peers)}


def _find_machine() -> str:
    return f"{platform.platform()}, {_find_processor()}, {os.cpu_count()} CPUs"


def _find_processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


@frozen(kw_only=True)
class Report:
    """
    The answer to the question of one benchmark.
    """

    name: str
    """The benchmark's, such as "push"."""
    question: str
    workload: str
    """Which events it worked on."""
    tables: Sequence[Table]
    versions: Mapping[str, str] = Factory(find_versions)
    machine: str = Factory(_find_machine)
    date: str = Factory(lambda: datetime.now(UTC).strftime("%Y-%m-%d"))

    def to_json(self) -> bytes:
        return _converter.dumps(self)

    def to_markdown(self) -> str:
        """
        Write it for a person: it reads well in a terminal too.
        """
        versions = ", ".join(f"{name} {number}" for name, number in self.versions.items())
        parts = [f"## {self.name}", self.question, self.workload]
        for table in self.tables:
            parts += [f"### {table.title}", table.setting, _draw(table)]
        parts.append(f"{self.date}; {versions}; {self.machine}")
        return "\n\n".join(parts) + "\n"


def read_report(data: bytes) -> Report:
    """
    Read what `Report.to_json` wrote.
    """
    return _converter.loads(data, Report)


def _draw(table: Table) -> str:
    """
    Draw a table of Markdown whose columns are aligned.
    """
    head = [table.figure, "median", "quartiles", "target", "for orientation"]
    lines = [head] + [
        [row.name, f"{row.middle:.2f}", row.spread, row.target, row.orientation]
        for row in table.rows
    ]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in lines
    )
