"""
The picture of what sending costs, beside the clients that others would use.

One rule: it shows the figures of a report, and makes none of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from benchmarks._report import Report, Row
from benchmarks.throughput import BESIDE, EXPORTER, LIMIT

__all__ = ["draw"]

Rows: TypeAlias = Mapping[str, Row]

_PAPER, _INK, _FAINT = "#ffffff", "#1f2328", "#59636e"  # legible where the page is dark, too
_COLORS = {EXPORTER: "#bc4c00", LIMIT: "#dfe3e8"}
_OTHERS = "#9fadbc"
_NAMES = {EXPORTER: "hh_exporter", LIMIT: "the limit: only\norjson and aiohttp"}


def draw(report: Report, path: Path) -> None:
    """
    Draw the *report* of the benchmark of throughput, in the format that *path* ends in.
    """
    from matplotlib import pyplot, rcParams

    # The same figures make the same file.
    rcParams["svg.hashsalt"] = report.name
    tables = [table for table in report.tables if table.title.startswith(BESIDE)]
    rates, cpu = ({row.name: row for row in table.rows} for table in (tables[0], tables[-1]))
    names = sorted(rates, key=lambda name: rates[name].middle)

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.3), sharey=True, facecolor=_PAPER)
    left.set_title("events a second", loc="left", fontsize=11, color=_FAINT, pad=6)
    right.set_title("CPU time of 1,000 events", loc="left", fontsize=11, color=_FAINT, pad=6)
    _draw_bars(left, names, rates, [1 / rates[name].middle for name in names], "slower")
    _draw_bars(right, names, cpu, [cpu[name].middle for name in names], "as much")
    left.invert_yaxis()
    left.set_yticks(range(len(names)), [_NAMES.get(name, name) for name in names])
    for label, name in zip(left.get_yticklabels(), names, strict=True):
        label.set(fontsize=11, color=_INK, fontweight=_find_weight(name))
    figure.suptitle(
        _find_title(rates, cpu), x=0.012, y=0.97, ha="left", fontsize=14, weight="bold", color=_INK
    )
    figure.text(0.012, 0.03, _find_caption(report), fontsize=8.5, color=_FAINT, linespacing=1.6)
    figure.subplots_adjust(left=0.17, right=0.99, top=0.82, bottom=0.15, wspace=0.05)
    figure.savefig(path, dpi=200, metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot.close(figure)


def _draw_bars(
    axis: Any, names: Sequence[str], rows: Rows, lengths: Sequence[float], comparison: str
) -> None:
    """
    Draw a bar for each client, with its figure behind it instead of on an axis.
    """
    colors = [_COLORS.get(name, _OTHERS) for name in names]
    axis.barh(range(len(names)), lengths, height=0.64, color=colors)
    for place, (name, length) in enumerate(zip(names, lengths, strict=True)):
        text = rows[name].orientation.partition(";")[0].removesuffix(" per 1,000 events")
        if name not in _NAMES:
            text += f",  {rows[name].middle:.1f}\N{MULTIPLICATION SIGN} {comparison}"
        axis.text(
            length + max(lengths) * 0.015,
            place,
            text,
            va="center",
            fontsize=10,
            color=_INK,
            weight=_find_weight(name),
        )
    axis.set_xlim(0, max(lengths) * 1.75)  # room for the text of the longest
    axis.set_xticks([])
    axis.tick_params(length=0)
    axis.set_frame_on(False)


def _find_weight(name: str) -> str:
    return "bold" if name == EXPORTER else "normal"


def _find_title(rates: Rows, cpu: Rows) -> str:
    def find_range(rows: Rows) -> tuple[int, int]:
        # Rounded down: a title claims no more than there is.
        factors = [int(row.middle) for name, row in rows.items() if name not in _NAMES]
        return min(factors), max(factors)

    (slow, slowest), (dear, dearest) = find_range(rates), find_range(cpu)
    return (
        f"hh_exporter delivers {slow} to {slowest} times as fast as other clients, "
        f"for 1/{dear} to 1/{dearest} of the CPU time"
    )


def _find_caption(report: Report) -> str:
    setting = next(table.setting for table in report.tables if table.title.startswith(BESIDE))
    return (
        f"{setting.partition(',')[0]}, until a server on the same machine has acknowledged all of "
        f"them. {report.workload}\n"
        f"python -m benchmarks --plot FILE, {report.date}, Python {report.versions['Python']}, "
        f"{report.machine.partition(', ')[2]}"
    )
