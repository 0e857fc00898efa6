"""
The records and dead letters of one exporter that are on disk, in whichever of its files.

It knows which records are in memory, so that none is loaded twice, and which
file a record is in, so that none is copied. Used by one thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from attrs import define, evolve, field

from hh_exporter._records import Spot, Subject
from hh_exporter._spool.files import Files
from hh_exporter._spool.forms import unpacked
from hh_exporter._spool.held import Held
from hh_exporter._spool.kept import Letter, SpooledRecord

__all__ = ["Disk"]


@define(eq=False, kw_only=True)
class Disk(Files):
    """
    What is in the files of one exporter.
    """

    _transaction: ExitStack = field(factory=ExitStack, init=False)
    """The one that is under way."""
    _begun: list[Held] = field(factory=list, init=False)
    """The files that it includes."""

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """
        Commit what is done in the block, all of it or nothing.
        """
        self._begun.clear()
        with self._at_work:
            try:
                with ExitStack() as self._transaction:
                    yield
            except BaseException:
                for held in self._begun:  # one may be committed: nothing came to memory from it
                    held.forget_notes()
                raise

    def has(self, spot: Spot) -> bool:
        """
        Whether a record is there; its file may have been closed since.
        """
        return spot.file is not None and spot.file in (self._ours, self.takeover.source)

    # Within a transaction.

    def add(self, records: Sequence[SpooledRecord], spots: Iterable[Spot], *, loaded: bool) -> None:
        """
        Write *records*, and where each is to its spot.

        Args:
            loaded: Whether they are in memory, too.
        """
        self._begin(self._writable()).add(records, spots, loaded=loaded)

    def unload(self, spot: Spot, seq: int = 0) -> None:
        """
        Note that a record left memory; those that have not come back since are next.

        Args:
            seq: Its place in the order of admission, which the record of a put gets only
                after it was written; 0 if it has none.
        """
        if self.has(spot):
            held = _held_at(spot)
            if seq > 0:
                self._begin(held).file.set_seq(spot.id, seq)
            held.unload(spot.id)

    def put_back(self, spots: Sequence[Spot]) -> None:
        """
        Note that records did not get to memory: it is their turn again. Outside, too.
        """
        for spot in reversed(spots):
            if self.has(spot):
                _held_at(spot).put_back(spot.id)

    def remove(self, spot: Spot) -> None:
        """
        Delete a record that has its outcome.
        """
        if self.has(spot):
            self._begin(_held_at(spot)).remove(spot.id)

    def bury(self, letters: Sequence[Letter]) -> None:
        if letters:
            self._begin(self._writable()).file.bury(letters)

    def next(self, limit: int, limit_bytes: int) -> list[tuple[SpooledRecord, Spot]]:
        """
        Read the records whose turn it is, up to *limit* or about *limit_bytes*.

        They count as in memory from now on, unless `unload` says otherwise.
        """
        found: list[tuple[SpooledRecord, Spot]] = []
        size = 0
        for held in self._files:
            if held is self.takeover.source and not self.takeover.is_stuck:
                continue  # its turn comes once it is moved
            self._begin(held).turn_before = held.turn
            for id_ in held.round():
                if len(found) == limit or size >= limit_bytes:
                    return found
                row = held.file.record(id_, as_it_is=True)
                if row is not None:
                    seq, data = held.order(id_, row.seq), unpacked(row.data)
                    record = evolve(row, seq=seq, data=data)
                    found.append((record, Spot(held, id_, row.size)))
                    held.note(id_, is_loaded=True)
                    held.turn = held.turn.after(id_)
                    size += record.size
        return found

    def redate(self, first: float, last: float, step: float) -> None:
        """
        Add *step* to the Unix times in our file that are between two others.
        """
        if self._ours is not None:
            self._begin(self._ours).file.redate(first, last, step)

    def expire(
        self, now: float, max_age: float, limit: int
    ) -> tuple[list[tuple[int, Subject]], int]:
        """
        Delete dead letters, and records that are not in memory, which are too old.

        What is still to be moved is not looked at.

        Args:
            now: Unix time.
            max_age: Seconds after which they are too old.
            limit: About how many of each to delete.

        Returns:
            The records' places in the order and subjects, and how many letters that were.
        """
        held = self._ours
        if held is None:
            return [], 0
        file, spared = self._begin(held).file, held.loaded
        file.bound_age(now)
        records, letters = file.expire(now - max_age, limit + len(spared), spared=spared)
        return [(held.order(id_, seq), subject) for id_, seq, subject in records], letters

    def make_room(self, before: int, max_bytes: int) -> int:
        """
        Delete the oldest dead letters if what was written since exceeds *max_bytes*.

        No more than that needs: what was taken over may exceed it by itself.

        Args:
            before: Bytes on disk before that.

        Returns:
            How many letters that were.
        """
        deleted = 0
        goal = max(max_bytes - self.excess, before)
        while (
            self.size > goal
            and self._ours is not None
            and (letter := self._ours.file.oldest_letter()) is not None
        ):
            deleted += self._begin(self._ours).file.discard([letter])
        return deleted

    def _begin(self, held: Held) -> Held:
        """
        Have the transaction include *held*: ours is the last to be committed.
        """
        if not held.is_changing:
            if held is self.takeover.source and self._ours is not None:
                self._begin(self._ours)
            self._transaction.enter_context(held.transaction())
            self._begun.append(held)
        return held


def _held_at(spot: Spot) -> Held:
    assert isinstance(spot.file, Held)  # noqa: S101
    return spot.file
