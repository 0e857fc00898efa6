"""
From the file of a dead process to ours: what is moved, and how far a move got.

Rows are committed to our file first, together with a mark that says so, and their
own file is removed once all of them are there. It names ours before. So where a
process dies in the middle, nothing is lost, and the next one goes on from the mark,
which it finds in the file that is named or, if that was moved itself, in its own.
"""

from __future__ import annotations

import sqlite3
from contextlib import suppress

from attrs import evolve

from hh_exporter._spool.file import SpoolFile, marks_in
from hh_exporter._spool.held import Held
from hh_exporter._spool.kept import Mark
from hh_exporter._spool.place import free_bytes, size_of
from hh_exporter.exceptions import SpoolError

__all__ = ["find_mark", "move"]

_SPARE = 2
"""How often a file must fit on the disk to be moved: the program needs some room, too."""

_PART = 2**19
"""Bytes that are moved at a time, about: a commit waits for no more."""


def find_mark(file: SpoolFile, ours: SpoolFile | None) -> Mark:
    """
    Say how far *file* was moved by those that died before they removed it.
    """
    name = file.path.name
    mark = Mark() if ours is None else ours.read_marks().get(name, Mark())
    if file.heir and (ours is None or file.heir != ours.path.name):
        # Copies in a file that can't be read are of no use.
        with suppress(SpoolError, OSError, sqlite3.Error):
            mark = mark.later(marks_in(file.path.with_name(file.heir)).get(name, Mark()))
    return mark


def move(source: Held, ours: Held) -> None:
    """
    Move the next part of *source* to *ours*, as old as it is, and behind all that is there.

    Raises:
        OSError, sqlite3.Error: It can't be written, or would fill the disk; nothing is changed.
    """
    free = free_bytes(source.file.path.parent)
    if free is not None and free < _SPARE * size_of(source.file.path):
        raise OSError("its disk has little room")
    source.file.name_heir(ours.file.path.name)
    records, letters = source.first(_PART)
    with ours.transaction():
        # Their places in the order of admission are of another exporter.
        ours.file.add([evolve(record, seq=0) for record in records])
        ours.file.bury(letters)
        _set_marks(source.file, ours.file, source.file.mark_after(records, letters))
    source.file.pass_on(records, letters)


def _set_marks(source: SpoolFile, ours: SpoolFile, mark: Mark) -> None:
    """
    Note how far *source* is moved, and what it says of other files; forget those that are gone.
    """
    known, inherited = ours.read_marks(), source.read_marks()
    for name in known.keys() | inherited.keys():
        if not ours.path.with_name(name).exists():
            ours.set_mark(name, None)
        elif name in inherited:
            ours.set_mark(name, inherited[name].later(known.get(name, Mark())))
    ours.set_mark(source.path.name, mark)
