"""
All benchmarks, each in a process of its own, and one report of what they found.

One rule: a benchmark that fails costs the report its part, and no other.
"""

from __future__ import annotations

import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

from benchmarks._report import Report, read_report

__all__ = ["main", "summarize"]

NAMES = (
    "push",
    "calls",
    "capture",
    "pace",
    "throughput",
    "stages",
    "far",
    "loop_lag",
    "memory",
    "outage",
    "shutdown",
    "scale",
    "startup",
    "idle",
    "fleet",
)
PLOTTED = "throughput"
ROOT = Path(__file__).parents[1]


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the benchmarks that *arguments* name, and write what they found.

    Returns:
        1 if one of them failed, else 0; a target that is missed is no failure.
    """
    parser = ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--events", type=Path, help="handed on to each benchmark")
    parser.add_argument(
        "--output", type=Path, default=Path("benchmarks.md"), help="default: %(default)s"
    )
    parser.add_argument("--plot", type=Path, help=f"draw {PLOTTED} there, as .svg or .png")
    options = parser.parse_args(arguments)
    names = options.names or NAMES
    if unknown := [name for name in names if name not in NAMES]:
        parser.error(f"no such benchmark: {', '.join(unknown)}")
    if options.plot and PLOTTED not in names:
        parser.error(f"--plot needs the benchmark {PLOTTED}")
    if options.plot and find_spec("matplotlib") is None:
        parser.error("--plot needs matplotlib: pip install '.[bench]'")

    reports: dict[str, Report] = {}
    failures: dict[str, int] = {}
    for number, name in enumerate(names, 1):
        _say(f"{number}/{len(names)} {name} ...")
        began = monotonic()
        found = _run(name, options.events)
        if isinstance(found, Report):
            reports[name] = found
        else:
            failures[name] = found
        how = "failed after" if name in failures else "took"
        _say(f"{number}/{len(names)} {name} {how} {monotonic() - began:.0f} s")
    if reports:
        options.output.write_text(summarize(list(reports.values()), failures), encoding="utf-8")
        _say(f"written to {options.output}")
    if options.plot and PLOTTED in reports:
        from benchmarks._plot import draw

        draw(reports[PLOTTED], options.plot)
        _say(f"drawn to {options.plot}")
    return 1 if failures else 0


def _run(name: str, events: Path | None) -> Report | int:
    """
    Run a benchmark.

    Returns:
        Its report, or its exit status if there is none.
    """
    with TemporaryDirectory() as folder:
        data = Path(folder) / "report.json"
        command = [sys.executable, "-m", f"benchmarks.{name}", "--json", str(data)]
        if events is not None:
            command += ["--events", str(events.resolve())]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=False)
        return done.returncode or read_report(data.read_bytes())


def summarize(reports: Sequence[Report], failures: Mapping[str, int]) -> str:
    """
    Write one report of many: which targets are met, and on which machine, said once.

    Args:
        reports: At least one.
        failures: The exit status of each benchmark that has no report, by name.
    """
    versions = dict(item for report in reports for item in report.versions.items())
    machines = dict.fromkeys(report.machine for report in reports)
    days = sorted({report.date for report in reports})
    targets = [
        (row.target, f"- {report.name}, {table.title}: {row.name} {row.middle:.2f} ({row.target})")
        for report in reports
        for table in report.tables
        for row in table.rows
        if row.target
    ]
    missed = [line for target, line in targets if target.endswith("MISSED")]
    met = [line for _, line in targets if line not in missed]
    failed = [f"- {name}: exit status {status}" for name, status in failures.items()]
    lists = {"Failed": failed, "Targets missed": missed, "Targets met": met}
    facts = [*machines, " to ".join(dict.fromkeys((days[0], days[-1])))]
    facts.append(", ".join(f"{name} {number}" for name, number in versions.items()))
    return "\n\n".join(
        [
            "# What it costs",
            "Ratios are medians of interleaved rounds; absolute figures are for orientation.",
            "\n".join(f"- {fact}" for fact in facts),
            *(f"**{title}:**\n\n" + "\n".join(lines) for title, lines in lists.items() if lines),
            *map(_strip, reports),
        ]
    )


def _strip(report: Report) -> str:
    """
    Leave out the last line, date and machine, which the summary has.
    """
    return report.to_markdown().rstrip().rpartition("\n\n")[0] + "\n"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
