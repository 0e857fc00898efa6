"""
What a person sees: lines on stderr, a progress bar below them, tables.

Without a terminal all of it is plain text. A closed pipe stops the output, and not
the work.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
from attrs import Factory, define, field
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text

__all__ = [
    "ErrorConsole",
    "Report",
    "list_counts",
    "print_columns",
    "print_table",
    "printable",
    "tell_numbers",
]

_WIDE = 10_000
_TOLD_OTHERWISE = ("suspended", "resumed")
"""First words of log messages that commands print in their own words."""


class ErrorConsole(Console):
    """
    stderr, or nothing once nobody reads it.
    """

    @classmethod
    def of_process(cls) -> ErrorConsole:
        """
        Write to this process's stderr, with a bar only on a terminal.

        FORCE_COLOR, which rich takes for a terminal, is about colors alone.
        """
        is_terminal = sys.stderr is not None and sys.stderr.isatty()
        return cls(stderr=True, force_interactive=None if is_terminal else False)

    def on_broken_pipe(self) -> None:
        self.quiet = True
        # The interpreter flushes it when it ends, and would report that it can't.
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), self.file.fileno())


@define(eq=False)
class Report:
    """
    Lines and a progress bar on stderr.
    """

    _console: ErrorConsole = Factory(ErrorConsole.of_process)
    _progress: Progress = field(init=False)
    _bar: TaskID | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
            auto_refresh=False,
            transient=True,
        )

    def say(self, text: str) -> None:
        """
        Print one line.
        """
        try:
            self._console.out(text, highlight=False)
        except BrokenPipeError:  # rich 13.7 does not call it by itself
            self._console.on_broken_pipe()

    def note(self, text: str) -> None:
        """
        Print one line where no bar shows how far it is.
        """
        if self._bar is None:
            self.say(text)

    @contextmanager
    def progress(self, what: str) -> Iterator[None]:
        """
        Keep a bar at the bottom of the terminal, if it is one, moved by `show`.
        """
        if not self._console.is_interactive:
            yield
            return
        self._bar = self._progress.add_task(what, total=None)
        with self._progress:
            yield
        self._bar = None

    def show(self, completed: int, total: int | None) -> None:
        """
        Move the bar; *total* is None as long as it can't be told.
        """
        if self._bar is not None:
            self._progress.update(self._bar, completed=completed, total=total, refresh=True)

    @contextmanager
    def logs(self) -> Iterator[None]:
        """
        Print what the package logs as a warning or worse.
        """
        logger = logging.getLogger("hh_exporter")
        handler = _LogHandler(self)
        logger.addHandler(handler)
        try:
            yield
        finally:
            logger.removeHandler(handler)


class _LogHandler(logging.Handler):
    """
    Prints log messages, except for those that commands print in their own words.
    """

    def __init__(self, report: Report) -> None:
        super().__init__(logging.WARNING)
        self._report = report

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage().removeprefix("hh_exporter: ")  # who speaks is known here
        # A table shows what was lost and why, so the settler's messages are left out.
        if record.name != "hh_exporter._delivery.settler" and not text.startswith(_TOLD_OTHERWISE):
            self._report.say(f"{record.levelname.lower()}: {text}")


def print_table(rows: Iterable[tuple[str, str, str]]) -> None:
    """
    Print rows of a name, a number and a remark to stdout.
    """
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(justify="right")
    table.add_column(style="dim")
    for row in rows:
        table.add_row(*row)
    _print(table, Console())


def print_columns(names: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """
    Print rows under the names of their columns to stdout, each in one line however long.
    """
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in names:
        table.add_column(name, no_wrap=True)
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    _print(table, Console(width=_WIDE))  # an id that is cut or wrapped can't be copied


def tell_numbers(
    numbers: Mapping[str, int], remarks: Mapping[str, str]
) -> Iterator[tuple[str, str, str]]:
    """
    Make the rows of a table of a summary, without `relayed` and `skipped` where nothing was.
    """
    for name, number in numbers.items():
        if number or name not in ("relayed", "skipped"):
            yield name, f"{number:,}", remarks.get(name, "")


def list_counts(counts: Mapping[str, int]) -> str:
    """
    Write the reasons in *counts*, with how many each has unless there is but one.
    """
    found = {what: count for what, count in counts.items() if count}
    if len(found) == 1:
        return next(iter(found))
    return ", ".join(f"{what}: {count:,}" for what, count in sorted(found.items()))


def printable(text: str) -> str:
    """
    Escape, as JSON does, what a terminal would obey instead of showing it; new lines stay.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else _escape(c) for c in text)


def _escape(character: str) -> str:
    digits = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{digits[at : at + 4]}" for at in range(0, len(digits), 4))


def _print(table: Table, console: Console) -> None:
    with console.capture() as capture:
        console.print(table)
    click.echo("\n".join(line.rstrip() for line in capture.get().splitlines()))
