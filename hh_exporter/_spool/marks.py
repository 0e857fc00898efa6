"""
What a spool file says of moves: where its contents go, and how much of others is in it.
"""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from attrs import define, field

from hh_exporter._spool.kept import Mark
from hh_exporter._spool.place import list_files
from hh_exporter._spool.schema import look, read_version
from hh_exporter._spool.tables import Tables
from hh_exporter.exceptions import SpoolError

__all__ = ["Marks", "find_mark"]

_TARGET: Final = "moved to"
_MARK: Final = "moved from "
"""What in `meta` names the file to which the contents go, and those that are here in part."""


@define(eq=False)
class Marks(Tables):
    """
    A database with that, too.
    """

    target: str = field(default="", init=False)
    """The name of the file to which its contents are moved; empty if none was chosen."""

    def read_target(self) -> None:
        """
        Read that name.
        """
        value = str(self.fact(_TARGET) or "")
        self.target = value if _is_name(value) else ""

    def read_mark(self, name: str) -> Mark:
        """
        Read how much of the file of that name is in this one.

        A mark that is damaged says nothing: rather is a part moved twice than one not at all.
        """
        found = re.fullmatch(r"(\d{1,18}) (\d{1,18})", str(self.fact(_MARK + name)), re.ASCII)
        return Mark(records=int(found[1]), letters=int(found[2])) if found else Mark()

    def marked(self) -> list[str]:
        """
        List the names of files of which it says how much is in it.
        """
        rows = self._db.execute("SELECT name FROM meta WHERE name GLOB ?", (f"{_MARK}*",))
        names = [name.removeprefix(_MARK) for (name,) in rows]
        return [name for name in names if _is_name(name)]

    # Within a transaction.

    def set_target(self, name: str) -> None:
        self.set_fact(_TARGET, name)

    def set_mark(self, name: str, mark: Mark | None) -> None:
        """
        Note how much of the file of that name is in this one; None if that is of no use any more.
        """
        if mark is None:
            self._db.execute("DELETE FROM meta WHERE name = ?", (_MARK + name,))
        else:
            self.set_fact(_MARK + name, f"{mark.records} {mark.letters}")

    def set_fact(self, name: str, value: str | int) -> None:
        """
        Have the file say *value* of itself under *name*.
        """
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    def fact(self, name: str) -> object:
        """
        Read what the file says of itself under *name*; None if nothing.
        """
        found = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if found is None else found[0]


def find_mark(path: Path, target: str) -> Mark:
    """
    Find out how much of the file at *path* is in another, whoever holds that.

    Args:
        target: The name of that one; where it is gone, all files are asked, since its own
            contents may have been moved.
    """
    mark = Mark()
    named = path.with_name(target)
    for other in [named] if named.exists() else list_files(path.parent):
        with suppress(SpoolError, OSError, sqlite3.Error):  # what can't be read is not there
            mark = mark.later(_mark_in(other, path.name))
    return mark


def _mark_in(path: Path, name: str) -> Mark:
    db = look(path)
    if db is None:
        return Mark()
    with closing(db):
        return Marks(db, 0.0).read_mark(name) if read_version(path, db) else Mark()


def _is_name(value: object) -> bool:
    return isinstance(value, str) and value == Path(value).name != ""
