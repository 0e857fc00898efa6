"""
The files of a spool, as commands see them.

Reading needs no lock. A change takes the lock of a file, so a file that a running
process holds is named and left as it is.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Callable, Collection
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import click
from attrs import define, field, frozen

from hh_exporter._cli._errors import CallError
from hh_exporter._cli._report import Report
from hh_exporter._environment import is_unset
from hh_exporter._settings.spool import expanded
from hh_exporter._spool.file import SpoolFile
from hh_exporter._spool.place import is_held, last_change, list_aside, list_files, remove_aside
from hh_exporter.exceptions import SpoolError

__all__ = ["Count", "Spool", "find_directory", "tell_count", "tell_time"]

T = TypeVar("T")

_VARIABLE = "HH_EXPORTER_SPOOL_DIRECTORY"
_SHORT = 6
"""Characters of a file's name that are shown, if no other file's begins with them."""


def find_directory(given: str | None) -> Path:
    """
    Find the spool's directory, by an argument or by the environment.

    Raises:
        CallError: None is named, it is not a directory, or the home in it is unknown.
    """
    name = os.environ.get(_VARIABLE) if is_unset(given) else given
    if name is None or is_unset(name):
        raise CallError(f"no spool: give its directory, or set {_VARIABLE}")
    try:
        directory = expanded(name.strip())
    except ValueError as exc:
        raise CallError(f"{name.strip()}: {exc}") from None
    if not directory.is_dir():
        raise CallError(f"{click.format_filename(directory)} is not a directory")
    return directory


def tell_time(moment: float) -> str:
    """
    Write a Unix time for a person.
    """
    try:
        return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (OverflowError, ValueError, OSError):  # of a clock that was wrong by ages
        return f"{moment:g}"


def tell_count(number: int, noun: str) -> str:
    """
    Write how many there are of something.
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


@frozen
class Count:
    """
    How many records and letters of a file are meant.
    """

    records: int
    letters: int


@define(eq=False)
class Spool:
    """
    The files that were in a directory at one moment.
    """

    directory: Path
    _report: Report
    paths: list[Path] = field(init=False)
    held: list[str] = field(factory=list, init=False)
    """Files that were left as they are, since a live process holds them."""
    others: list[str] = field(factory=list, init=False)
    """Files that were left as they are, since their events go elsewhere or need another key."""
    unreadable: list[str] = field(factory=list, init=False)
    damaged: int = field(default=0, init=False)
    """Records that became dead letters when their files were taken, since they are damaged."""

    @paths.default
    def _list(self) -> list[Path]:
        return list_files(self.directory)

    @property
    def is_complete(self) -> bool:
        """
        Whether everything that was to be done could be done.
        """
        return not (self.held or self.others or self.unreadable)

    def names(self) -> dict[Path, str]:
        """
        Name each file by as many of its first characters as tell it from the others.
        """
        length = _SHORT
        while len({path.stem[:length] for path in self.paths}) < len(self.paths):
            length += 1
        return {path: path.stem[:length] for path in self.paths}

    def find(self, text: str) -> tuple[Path, int]:
        """
        Find the dead letter with the id *text*.

        Returns:
            Its file and its number there.

        Raises:
            CallError: No file fits, or several do.
        """
        name, _, number = text.rpartition("-")
        paths = [path for path in self.paths if path.stem.startswith(name)]
        if not name or not re.fullmatch(r"[0-9]{1,18}", number) or not paths:
            raise CallError(f"there is no dead letter {text!r}: see hh-exporter dead-letters list")
        if len(paths) > 1:
            raise CallError(f"{text!r} may be in one of {len(paths)} files: give more of its name")
        return paths[0], int(number)

    def find_aside(self, before: float | None) -> list[Path]:
        """
        Find the files that were set aside and last changed before a Unix time, or all of them.
        """
        return [
            path
            for path in list_aside(self.directory)
            if before is None or last_change(path) < before
        ]

    def remove_aside(self, paths: Collection[Path]) -> int:
        """
        Remove files that were set aside; returns how many that were.
        """
        count = 0
        for path in paths:
            try:
                remove_aside(path)
                count += 1
            except OSError as exc:
                self._fail(path, exc)
        return count

    def look(
        self, action: Callable[[SpoolFile], T], paths: Collection[Path] | None = None
    ) -> dict[Path, T]:
        """
        Do *action*, which changes nothing, with each of *paths*, or with every file.
        """
        return self._each(self.paths if paths is None else paths, SpoolFile.peek, action)

    def take(self, paths: Collection[Path], action: Callable[[SpoolFile], T]) -> dict[Path, T]:
        """
        Do *action* with each of *paths* that no live process holds, in one transaction each.
        """

        def do(file: SpoolFile) -> T:
            with file.transaction():
                return action(file)

        return self._each(paths, self._take, do)

    def leave(self, path: Path, why: str) -> None:
        """
        Name a file that is left as it is, and say why.
        """
        name = click.format_filename(path.name)
        self.others.append(name)
        self._report.say(f"{name} is skipped: {why}")

    def _take(self, path: Path) -> SpoolFile | None:
        file = SpoolFile.adopt(path, None)
        if file is None and is_held(path):
            name = click.format_filename(path.name)
            self.held.append(name)
            self._report.say(f"{name} is skipped: a running process holds it")
        if file is not None and (count := len(file.odd)):
            self.damaged += count
            are = "is a dead letter" if count == 1 else "are dead letters"
            name = click.format_filename(path.name)
            self._report.say(f"{name}: {tell_count(count, 'damaged event')} {are} now")
        return file

    def _each(
        self,
        paths: Collection[Path],
        open_: Callable[[Path], SpoolFile | None],
        action: Callable[[SpoolFile], T],
    ) -> dict[Path, T]:
        done = {}
        for path in paths:
            try:
                file = open_(path)
                if file is not None:
                    with closing(file):
                        done[path] = action(file)
            except (SpoolError, sqlite3.Error, OSError) as exc:
                self._fail(path, exc)
        return done

    def _fail(self, path: Path, exc: Exception) -> None:
        self.unreadable.append(click.format_filename(path.name))
        told = str(exc) if isinstance(exc, SpoolError) else f"{path}: {exc}"
        self._report.say(f"warning: {told}")
