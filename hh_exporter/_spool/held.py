"""
An open spool file, and which of its records are in memory.

What a transaction notes is undone if it fails. Only what it changed is remembered
for that: a commit costs the same however much is in memory.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from math import inf

from attrs import Factory, define, field

from hh_exporter._records import Spot
from hh_exporter._spool.columns import MAX_ID
from hh_exporter._spool.file import SpoolFile
from hh_exporter._spool.kept import Letter, SpooledRecord
from hh_exporter._spool.round import Round

__all__ = ["Held"]

_USUAL = 1.1
"""What a file takes on disk of usual events, as a multiple of their size there."""

_AT_ONCE = 100
"""Ids that are read at a time."""

_FIRST = Round()


@define(eq=False)
class Held:
    """
    A file, for as long as it is open.
    """

    file: SpoolFile
    inherited: int
    """Records up to this id are of an earlier process: their order of admission is not ours."""
    loaded: set[int] = Factory(set)
    turn: Round = _FIRST
    """Which records came back to memory last, and so which are next."""
    turn_before: Round = _FIRST
    """What that was before the last load."""
    extent: int = field(default=0, init=False)
    """Bytes of its pages, as of the last commit."""
    has_changed: bool = field(default=True, init=False)
    """Whether anything was committed since that was last set to False."""
    is_gone: bool = field(default=False, init=False)
    """Whether the file was taken away, and can't be read."""
    is_changing: bool = field(default=False, init=False)
    """Whether a transaction is under way."""
    _were: dict[int, bool] = Factory(dict)
    """Whether records were in memory before the last transaction noted that they are, or not."""
    _turn_was: Round = _FIRST
    """What `turn` was before the last transaction."""
    _written: list[Spot] = Factory(list)
    """Spots of records that it adds."""

    @property
    def unloaded(self) -> int:
        """
        How many records are on disk alone.
        """
        return self.file.count - len(self.loaded)

    @property
    def excess(self) -> int:
        """
        Bytes of its pages beyond what its contents should take.
        """
        return self.extent - int(_USUAL * self.file.size)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """
        Commit what is done in the block, all of it or nothing.
        """
        self.is_changing = True
        self._were.clear()
        self._turn_was = self.turn
        try:
            with self.file.transaction():
                yield
        except BaseException:
            self.forget_notes()
            for spot in self._written:
                spot.file = None
            raise
        else:
            self.has_changed = True
            self.file.note_sizes()
            with suppress(sqlite3.Error):  # it is committed
                self.extent = self.file.extent
        finally:
            self.is_changing = False
            self._written.clear()

    def forget_notes(self) -> None:
        """
        Undo what the last transaction noted.
        """
        for id_, was_loaded in self._were.items():
            self._set(id_, was_loaded)
        self.turn = self._turn_was

    def restore(self) -> None:
        """
        Go on in a new file with the contents of this one, which is not where it was.

        Raises:
            SpoolError, OSError, sqlite3.Error: As `SpoolFile.copy`.
        """
        copy = self.file.copy()
        old, self.file = self.file, copy
        self.has_changed = True
        with suppress(OSError, sqlite3.Error):
            old.leave()

    def note(self, id_: int, *, is_loaded: bool) -> None:
        """
        Note that a record is in memory, or that it is not.
        """
        if self.is_changing:
            self._were.setdefault(id_, id_ in self.loaded)
        self._set(id_, is_loaded)

    def unload(self, id_: int) -> None:
        """
        Note that a record left memory.
        """
        self.note(id_, is_loaded=False)
        self.turn = self.turn.with_returned(id_, self.file.last_id)

    def put_back(self, id_: int) -> None:
        """
        Note that the last record that was loaded did not get to memory: it is next again.
        """
        self.note(id_, is_loaded=False)
        self.turn = self.turn.back_to(id_, self.turn_before)

    def round(self) -> Iterator[int]:
        """
        List the records that are not in memory, beginning with the next one.
        """
        left, last, last_of_round = self.unloaded, self.turn.last, self.turn.end
        for after, end in ((last, last_of_round), (0, last), (last_of_round, inf)):
            for id_ in self._ids(after) if after < inf else ():
                if not left or id_ > end:
                    break
                if id_ not in self.loaded:
                    left -= 1
                    yield id_

    def order(self, id_: int, seq: int) -> int:
        """
        Say which place in our order of admission a record has.

        What is inherited comes before all else, in the order that it has here: below 0.
        """
        return seq if seq > 0 and id_ > self.inherited else id_ - MAX_ID - 1

    def first(self, size: int) -> tuple[list[SpooledRecord], list[Letter]]:
        """
        Read its first records and letters, about *size* bytes, up to a record that is in memory.

        They are read as they are there: to be copied.
        """
        records: list[SpooledRecord] = []
        letters: list[Letter] = []
        for id_ in self._ids(0):
            if size <= 0 or id_ in self.loaded:
                return records, letters
            if (record := self.file.record(id_, as_it_is=True)) is not None:
                records.append(record)
                size -= record.size
        for id_ in self.file.letter_ids():
            if size <= 0:
                break
            if (letter := self.file.letter(id_, as_it_is=True)) is not None:
                letters.append(letter)
                size -= letter.size
        return records, letters

    # Within a transaction.

    def add(self, records: Sequence[SpooledRecord], spots: Iterable[Spot], *, loaded: bool) -> None:
        """
        Write *records*, and where each is to its spot.
        """
        for record, spot, id_ in zip(records, spots, self.file.add(records), strict=True):
            spot.file, spot.id, spot.size = self, id_, record.size
            self._written.append(spot)
            if loaded:
                self.note(id_, is_loaded=True)

    def remove(self, id_: int) -> None:
        self.file.remove((id_,))
        self.note(id_, is_loaded=False)

    def _ids(self, after: float) -> Iterator[int]:
        while ids := self.file.ids(_AT_ONCE, after=int(after)):
            yield from ids
            after = ids[-1]

    def _set(self, id_: int, is_loaded: bool) -> None:
        (self.loaded.add if is_loaded else self.loaded.discard)(id_)
