"""
From the file of a dead process to ours: what is moved, and how far a move got.

Rows are committed to our file first, together with a mark that says so, and their
own file is removed once all of them are there. It names ours before, which has by then
what the file named earlier says of it. So where a
process dies in the middle, nothing is lost, and the next one goes on from the mark,
which it finds in the file that is named or, if that was moved itself, in another.
"""

from __future__ import annotations

from attrs import evolve

from hh_exporter._spool.file import SpoolFile
from hh_exporter._spool.held import Held
from hh_exporter._spool.kept import Mark
from hh_exporter._spool.place import free_bytes, size_of

__all__ = ["forget_marks", "move"]

_SPARE = 2
"""How often a file must fit on the disk to be moved: the program needs some room, too."""

_PART = 2**19
"""Bytes that are moved at a time, about: a commit waits for no more."""


def move(source: Held, ours: Held) -> None:
    """
    Move the next part of *source* to *ours*, as old as it is, and behind all that is there.

    Raises:
        OSError, sqlite3.Error: It can't be written, or would fill the disk; nothing is changed.
    """
    free = free_bytes(source.file.path.parent)
    if free is not None and free < _SPARE * size_of(source.file.path):
        raise OSError("its disk has little room")
    if source.file.target not in ("", ours.file.path.name):
        with ours.transaction():  # first: from now on ours is asked, and not the one before
            _set_marks(source.file, ours.file, source.file.moved)
    source.file.name_target(ours.file.path.name)
    records, letters = source.first(_PART)
    with ours.transaction():
        # Their places in the order of admission are of another exporter.
        ours.file.add([evolve(record, seq=0) for record in records])
        ours.file.bury(letters)
        _set_marks(source.file, ours.file, source.file.mark_after(records, letters))
    source.file.pass_on(records, letters)


def forget_marks(ours: Held) -> None:
    """
    Delete marks of files that are gone.

    Raises:
        sqlite3.Error: It can't be written.
    """
    path = ours.file.path
    gone = [name for name in ours.file.marked() if not path.with_name(name).exists()]
    if gone:
        with ours.transaction():
            for name in gone:
                ours.file.set_mark(name, None)


def _set_marks(source: SpoolFile, ours: SpoolFile, mark: Mark) -> None:
    """
    Note how far *source* is moved, and what it says of other files.
    """
    for name in source.marked():
        if ours.path.with_name(name).exists():
            ours.set_mark(name, source.read_mark(name).later(ours.read_mark(name)))
    ours.set_mark(source.path.name, mark)
