"""
The spool files that we hold: those that dead processes left, and one to write to.

It knows which of their records are in memory, so that none is loaded twice, and
which file a record is in, so that none is copied. Used by one thread. A fork waits
until SQLite is idle: it has locks that all its files share, and a child that is
forked while one is held would wait for it forever.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from operator import itemgetter
from pathlib import Path
from threading import RLock
from weakref import WeakSet

from attrs import Factory, define, evolve

from hh_exporter._log import get_log
from hh_exporter._records import Spot
from hh_exporter._spool.file import SpoolFile
from hh_exporter._spool.kept import Identity, Letter, SpooledRecord
from hh_exporter._spool.place import list_files, make_directory, set_aside
from hh_exporter._spool.schema import is_corrupt
from hh_exporter.exceptions import SpoolError

__all__ = ["Disk"]

log = get_log(__name__)

_LONGEST_WAIT = 1.0
"""Seconds for which a fork waits for each disk: one that hangs must not stop the program."""


@define(eq=False)
class _Held:
    """
    An open file, and what of it is in memory.
    """

    file: SpoolFile
    inherited: int
    """Records up to this id are of an earlier process: their order of admission is not ours."""
    loaded: set[int] = Factory(set)
    last: int = 0
    """The record that came back to memory last: those behind it are next."""

    def round(self, limit: int) -> Iterator[int]:
        """
        List records that are not in memory, beginning with the next one, about *limit* of them.
        """
        for after in (self.last, 0):
            for id_ in self.file.ids(limit + len(self.loaded), after=after):
                if id_ not in self.loaded:
                    yield id_

    def order(self, id_: int, seq: int) -> int:
        """
        Say which place in our order of admission a record has; 0 if none.
        """
        return seq if id_ > self.inherited else 0


@define(eq=False, kw_only=True)
class Disk:
    """
    All files of one exporter.
    """

    directory: Path
    identity: Identity
    fsync: bool
    _files: list[_Held] = Factory(list)
    _transaction: ExitStack = Factory(ExitStack)
    """The one that is under way."""
    _written: list[Spot] = Factory(list)
    """Spots of records that it adds."""
    _left: dict[Path, int] = Factory(dict)
    """How many records waited in each file of ours when it was closed."""
    _at_work: RLock = Factory(RLock)
    """Held while SQLite is."""

    def __attrs_post_init__(self) -> None:
        _disks.add(self)

    @property
    def size(self) -> int:
        """
        Bytes of records and dead letters.
        """
        return sum(held.file.size for held in self._files)

    @property
    def record_size(self) -> int:
        return sum(held.file.record_size for held in self._files)

    @property
    def count(self) -> int:
        return sum(held.file.count for held in self._files)

    @property
    def letters(self) -> int:
        return sum(held.file.letters for held in self._files)

    def open(self) -> tuple[int, int]:
        """
        Take all files in the directory that no process holds and that are of this identity.

        Returns:
            How many records other processes left there, and how many of ours are gone.

        Raises:
            SpoolError, OSError: The directory is not ours, or can't be made.
        """
        make_directory(self.directory)
        found = gone = 0
        for path in list_files(self.directory):
            with self._at_work:
                held = self._adopt(path)
            if held is None:
                continue
            self._files.append(held)
            new = held.file.count - self._left.pop(path, 0)
            found += max(new, 0)
            gone += max(-new, 0)
        gone += sum(self._left.values())
        self._left.clear()
        return found, gone

    def _adopt(self, path: Path) -> _Held | None:
        try:
            file = SpoolFile.adopt(path, self.identity, fsync=self.fsync)
            return None if file is None else _Held(file, max(file.ids(), default=0))
        except SpoolError as exc:
            log.warning("hh_exporter: a spool file is skipped: %s", exc)
        except (OSError, sqlite3.Error) as exc:
            if isinstance(exc, sqlite3.Error) and is_corrupt(exc):
                log.warning("hh_exporter: a corrupt spool file was renamed to %s", set_aside(path))
            else:
                log.warning("hh_exporter: the spool file %s can't be opened: %s", path, exc)
        return None

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """
        Commit what is done in the block, all of it or nothing.
        """
        before = [(held, set(held.loaded)) for held in self._files]
        try:
            with self._at_work, ExitStack() as self._transaction:
                for held in self._files:
                    self._transaction.enter_context(held.file.transaction())
                yield
        except BaseException:
            for held, loaded in before:
                held.loaded = loaded
            for spot in self._written:
                spot.file = None
            raise
        finally:
            self._written.clear()

    def has(self, spot: Spot) -> bool:
        """
        Whether a record is there; its file may have been closed since.
        """
        return spot.file in self._files

    # Within a transaction.

    def add(self, records: Sequence[SpooledRecord], spots: Iterable[Spot], *, loaded: bool) -> None:
        """
        Write *records*, and where each is to its spot.

        Args:
            loaded: Whether they are in memory, too.
        """
        held = self._writable()
        ids = held.file.add(records)
        for spot, id_ in zip(spots, ids, strict=True):
            spot.file, spot.id = held, id_
            self._written.append(spot)
        if loaded:
            held.loaded.update(ids)

    def unload(self, spot: Spot, seq: int = 0) -> None:
        """
        Note that a record left memory; those that have not come back since are next.

        Args:
            seq: Its place in the order of admission, which the record of a put gets only
                after it was written; 0 if it has none.
        """
        if self.has(spot):
            held = _held_at(spot)
            held.loaded.discard(spot.id)
            if seq:
                held.file.set_seq(spot.id, seq)

    def put_back(self, spots: Sequence[Spot]) -> None:
        """
        Note that records did not get to memory: it is their turn again.
        """
        for spot in reversed(spots):
            self.unload(spot)
            if self.has(spot):
                _held_at(spot).last = spot.id - 1

    def remove(self, spot: Spot) -> None:
        """
        Delete a record that has its outcome.
        """
        if self.has(spot):
            held = _held_at(spot)
            held.file.remove((spot.id,))
            held.loaded.discard(spot.id)

    def bury(self, letters: Sequence[Letter]) -> None:
        if letters:
            self._writable().file.bury(letters)

    def next(self, limit: int, limit_bytes: int) -> list[tuple[SpooledRecord, Spot]]:
        """
        Read the records whose turn it is, file by file, up to *limit* or about *limit_bytes*.

        They count as in memory from now on, unless `unload` says otherwise.
        """
        found: list[tuple[SpooledRecord, Spot]] = []
        size = 0
        for held in self._files:
            for id_ in held.round(limit):
                if len(found) == limit or size >= limit_bytes:
                    return found
                record = held.file.record(id_)
                if record is not None:
                    seq = held.order(id_, record.seq)
                    found.append((evolve(record, seq=seq), Spot(held, id_)))
                    held.loaded.add(id_)
                    held.last = id_
                    size += record.size
        return found

    def expire(self, before: float, limit: int) -> tuple[list[tuple[int, str]], int]:
        """
        Delete dead letters, and records that are not in memory, pushed before a Unix time.

        Args:
            limit: About how many of each to delete in each file.

        Returns:
            The records' places in the order and event ids, and how many letters that were.
        """
        gone: list[tuple[int, str]] = []
        count = 0
        for held in self._files:
            records, letters = held.file.expire(
                before, limit + len(held.loaded), spared=held.loaded
            )
            gone += [(held.order(id_, seq), event_id) for id_, seq, event_id in records]
            count += letters
        return gone, count

    def make_room(self, size: int, max_bytes: int) -> int:
        """
        Delete the oldest dead letters if *size* new bytes exceed *max_bytes*.

        No more than that needs: what was taken over may exceed it by itself.

        Returns:
            How many letters that were.
        """
        deleted = 0
        goal = max(max_bytes, self.size - size)
        while self.size > goal and (
            letters := [
                (letter, held.file)
                for held in self._files
                if (letter := held.file.oldest_letter()) is not None
            ]
        ):
            (_, id_), file = min(letters, key=itemgetter(0))
            deleted += file.discard([id_])
        return deleted

    def _writable(self) -> _Held:
        """
        Return the file to write to: the first; it is created if there is none.
        """
        if not self._files:
            file = SpoolFile.create(self.directory, self.identity, fsync=self.fsync)
            self._files.append(_Held(file, inherited=0))
            self._transaction.enter_context(file.transaction())
        return self._files[0]

    # Outside of one.

    def sweep(self) -> None:
        """
        Close empty files, except the one that is written to.
        """
        for held in self._files[1:]:
            if not held.file.count and not held.file.letters:
                self._files.remove(held)
                with self._at_work:
                    held.file.close()

    def abandon(self) -> None:
        """
        Leave the files to the parent, in a forked child.
        """
        _disks.discard(self)
        for held in self._files:
            held.file.abandon()

    def close(self) -> None:
        files, self._files = self._files, []
        with self._at_work, ExitStack() as closing:
            for held in files:
                closing.callback(held.file.close)
                # Without settled records that could not be deleted: another process finds those.
                self._left[held.file.path] = held.file.count - len(held.loaded)


def _held_at(spot: Spot) -> _Held:
    assert isinstance(spot.file, _Held)  # noqa: S101
    return spot.file


_disks: WeakSet[Disk] = WeakSet()


def _rest() -> None:
    for disk in tuple(_disks):
        disk._at_work.acquire(timeout=_LONGEST_WAIT)


def _go_on() -> None:
    for disk in tuple(_disks):
        with suppress(RuntimeError):  # there was no waiting for this one
            disk._at_work.release()


# Not in the child, which makes disks of its own.
os.register_at_fork(before=_rest, after_in_parent=_go_on)
