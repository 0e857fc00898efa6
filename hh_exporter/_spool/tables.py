"""
The contents of a spool file: records that wait, dead letters, and their sizes.

All changes are steps of a transaction. Whatever damage left in a column, what is read has
the types of the schema. Used by one thread at a time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

from attrs import define, field

from hh_exporter._records import UPDATES, Subject
from hh_exporter._spool.ages import Ages
from hh_exporter._spool.columns import LETTERS, MAX_ID, RECORDS, Columns
from hh_exporter._spool.forms import unpacked
from hh_exporter._spool.kept import Letter, Mark, Match, SpooledRecord

__all__ = ["Tables"]

_HERE: Final = "(id > ? OR id < 1)"
"""What is true of rows that were not moved; no exporter numbers one below 1."""


@define(eq=False)
class Tables(Ages):
    """
    The records and letters of one database.
    """

    _latest: float
    """When the file was changed last before it was opened, as Unix time: stands for odd times."""
    count: int = field(default=0, init=False)
    """Records in it."""
    letters: int = field(default=0, init=False)
    record_size: int = field(default=0, init=False)
    """Bytes of those records."""
    letter_size: int = field(default=0, init=False)
    moved: Mark = field(factory=Mark, init=False)
    """What is in another file by now: it does not count here, and is not listed."""
    _next_id: int = field(default=1, init=False)

    @property
    def size(self) -> int:
        """
        Bytes of its records and letters, as they are on disk.
        """
        return self.record_size + self.letter_size

    @property
    def is_empty(self) -> bool:
        return not self.count and not self.letters

    @property
    def last_id(self) -> int:
        """
        The id of the record that was added last, which may be gone; 0 if none was.
        """
        return self._next_id - 1

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """
        Commit what is done in the block, all of it or nothing.
        """
        before = self.count, self.letters, self.record_size, self.letter_size, self._next_id
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            self.count, self.letters, self.record_size, self.letter_size, self._next_id = before
            with suppress(sqlite3.Error):  # a full disk ends the transaction by itself
                self._db.execute("ROLLBACK")
            raise

    # Changes. Each of these within a transaction.

    def add(self, records: Sequence[SpooledRecord]) -> range:
        """
        Put *records* behind all others.

        Returns:
            Their ids, in the same order.
        """
        ids = range(self._next_id, self._next_id + len(records))
        rows = zip(ids, map(RECORDS.values_of, records), strict=True)
        self._db.executemany(RECORDS.insert, ((id_, *values) for id_, values in rows))
        self._next_id = ids.stop
        self.count += len(records)
        self.record_size += sum(record.size for record in records)
        return ids

    def set_seq(self, id_: int, seq: int) -> None:
        """
        Give a record its place in the order of admission, unless it has one.
        """
        self._db.execute("UPDATE records SET seq = ? WHERE id = ? AND seq = 0", (seq, id_))

    def remove(self, ids: Iterable[int]) -> int:
        """
        Delete records.

        Returns:
            How many of them were there.
        """
        sizes = self._delete(
            "DELETE FROM records WHERE id = ? "
            "RETURNING ifnull(length(data), 0) + ifnull(length(session), 0)",
            ids,
        )
        self.count -= len(sizes)
        self.record_size -= sum(sizes)
        return len(sizes)

    def bury(self, letters: Iterable[Letter]) -> None:
        """
        Add dead letters.
        """
        for letter in letters:
            self._db.execute(LETTERS.insert, (None, *LETTERS.values_of(letter)))
            self.letters += 1
            self.letter_size += letter.size

    def revive(self, ids: Iterable[int]) -> list[int]:
        """
        Make records of letters again, behind all others, as old as they were.

        Returns:
            The ids of the letters that were there.
        """
        revived = []
        for id_ in ids:
            letter = self.letter(id_, as_it_is=True)
            if letter is not None:
                self.add([letter.revived()])
                self.discard([id_])
                revived.append(id_)
        return revived

    def discard(self, ids: Iterable[int]) -> int:
        """
        Delete letters.

        Returns:
            How many of them were there.
        """
        sizes = self._delete(
            "DELETE FROM letters WHERE id = ? "
            "RETURNING ifnull(length(data), 0) + ifnull(length(CAST(answer AS BLOB)), 0)",
            ids,
        )
        self.letters -= len(sizes)
        self.letter_size -= sum(sizes)
        return len(sizes)

    def purge(self, match: Match, *, unsent: bool = True) -> tuple[int, int]:
        """
        Delete the letters that *match*, and records if *unsent*; no bytes of them stay in the file.

        Returns:
            How many records and how many letters that were.
        """
        records, letters = self.find(match)
        return self.remove(records) if unsent else 0, self.discard(letters)

    def expire(
        self, before: float, limit: int, *, spared: Container[int] = ()
    ) -> tuple[list[tuple[int, int, Subject]], int]:
        """
        Delete what was pushed before a Unix time, the oldest first.

        Args:
            limit: How many records, and how many letters, to look at at most.
            spared: Ids of records that stay.

        Returns:
            The records' ids, orders of admission and subjects, and how many letters that were.
        """
        rows = self._db.execute(
            f"SELECT id, {', '.join(map(RECORDS.read, ('seq', 'event_id', 'route')))} FROM records "
            "WHERE pushed_at < ? ORDER BY pushed_at LIMIT ?",
            (before, limit),
        )
        records = [
            (id_, seq, Subject(event_id, route == UPDATES))
            for id_, seq, event_id, route in rows
            if id_ not in spared
        ]
        letters = self._db.execute(
            "SELECT id FROM letters WHERE pushed_at < ? ORDER BY pushed_at LIMIT ?", (before, limit)
        )
        ids = [id_ for (id_,) in letters]
        self.remove(id_ for id_, *_ in records)
        return records, self.discard(ids)

    def set_odd_aside(self) -> list[Subject]:
        """
        Make dead letters of the records that no exporter wrote so, and letters readable.

        Every id is one that the file can continue from then.

        Returns:
            The subjects of these records.
        """
        for table in (RECORDS, LETTERS):
            self._renumber(table.table)
        ids = self._db.execute(f"SELECT id FROM records WHERE NOT ({RECORDS.rules})").fetchall()
        odd = []
        for (id_,) in ids:
            record = self.record(id_)
            if record is not None:
                self.bury([record.buried(self._latest)])
                self.remove([id_])
                odd.append(Subject.of(record))
        self._db.execute(
            f"UPDATE letters SET ({LETTERS.names}) = (SELECT {LETTERS.values}) "
            f"WHERE NOT ({LETTERS.rules})",
            {"latest": self._latest},
        )
        return odd

    # How far its contents were moved.

    def leave_out(self, moved: Mark) -> None:
        """
        Note what is in another file by now.
        """
        both = self.moved.later(moved)
        if both != self.moved:
            self.moved = both
            self._count()

    def pass_on(self, records: Sequence[SpooledRecord], letters: Sequence[Letter]) -> None:
        """
        Note that these, its first ones, are in another file by now.
        """
        self.moved = self.mark_after(records, letters)
        self.count -= len(records)
        self.record_size -= sum(record.size for record in records)
        self.letters -= len(letters)
        self.letter_size -= sum(letter.size for letter in letters)

    def mark_after(self, records: Sequence[SpooledRecord], letters: Sequence[Letter]) -> Mark:
        """
        Say how far its contents are moved once these, its first ones, are.
        """
        return Mark(
            records=records[-1].id if records else self.moved.records,
            letters=letters[-1].id if letters else self.moved.letters,
        )

    # Reading.

    def ids(self, limit: int = -1, *, after: int = 0) -> list[int]:
        """
        List the ids of its records behind *after*, up to *limit* of them, in order of arrival.
        """
        rows = self._db.execute(
            "SELECT id FROM records WHERE id > ? ORDER BY id LIMIT ?",
            (max(after, self.moved.records), limit),
        )
        return [id_ for (id_,) in rows]

    def record(self, id_: int, *, as_it_is: bool = False) -> SpooledRecord | None:
        """
        Read a record; its `odd` says what it is that no exporter writes.

        Args:
            as_it_is: Whether its data may be packed: it is copied.
        """
        found = self._read(RECORDS, id_, as_it_is)
        return None if found is None else SpooledRecord(**found)

    def letter_ids(self) -> list[int]:
        """
        List the ids of its letters, in order of death.
        """
        rows = self._db.execute(
            f"SELECT id FROM letters WHERE {_HERE} ORDER BY id", (self.moved.letters,)
        )
        return [id_ for (id_,) in rows]

    def oldest_letter(self) -> int | None:
        """
        Find the letter that was pushed first; returns its id.
        """
        found = self._db.execute("SELECT id FROM letters ORDER BY pushed_at, id LIMIT 1").fetchone()
        return None if found is None else int(found[0])

    def letter(self, id_: int, *, as_it_is: bool = False) -> Letter | None:
        """
        Read a letter, as `record` does.
        """
        found = self._read(LETTERS, id_, as_it_is)
        if found is not None:
            del found["odd"]
        return None if found is None else Letter(**found)

    def find(self, match: Match) -> tuple[list[int], list[int]]:
        """
        List the ids of the records and of the letters that *match*.
        """
        # All of them, since what stands for a time that can't be read is in no index.
        known = {"latest": self._latest}
        records = self._db.execute(
            f"SELECT id, {RECORDS.read('pushed_at')}, {RECORDS.read('data')}, "
            f"{RECORDS.read('session')} FROM records",
            known,
        )
        letters = self._db.execute(
            f"SELECT id, {LETTERS.read('pushed_at')}, {LETTERS.read('data')}, "
            f"{LETTERS.read('reason')} FROM letters",
            known,
        )
        return (
            [id_ for id_, at, data, *rest in records if match.fits(at, unpacked(data), *rest)],
            [id_ for id_, at, data, why in letters if match.fits(at, unpacked(data), reason=why)],
        )

    def oldest_pushed_at(self) -> float | None:
        """
        Say when the oldest record was pushed, as Unix time; None without one.
        """
        (oldest,) = self._db.execute(RECORDS.oldest).fetchone()
        return None if oldest is None else float(oldest)

    # Within.

    def _read(self, columns: Columns, id_: int, as_it_is: bool) -> dict[str, Any] | None:
        """
        Read a row, with the names of its columns that hold what no exporter writes.
        """
        found = self._db.execute(columns.plain, (id_,)).fetchone()
        if found is not None and found[-1] is None:
            known = {"id": id_, "latest": self._latest}
            found = self._db.execute(columns.careful, known).fetchone()
        if found is None:
            return None
        values = dict(zip(columns.fields, found, strict=True))
        if not as_it_is:
            values["data"] = unpacked(values["data"])
        return values

    def _renumber(self, table: str) -> None:
        """
        Give new ids to rows whose own are in no list or leave none for more; all, if that is short.

        Others keep theirs where that can be: marks say by them how far a file was moved.
        """
        proper = f"BETWEEN 1 AND {MAX_ID}"
        (first,), (last,) = self._db.execute(
            f"SELECT ifnull(min(id), 1) FROM {table} UNION ALL "
            f"SELECT ifnull(max(id), 0) FROM {table}"
        )
        if first < 1 or last > MAX_ID:
            odd = self._db.execute(
                f"SELECT id FROM {table} WHERE NOT (id {proper}) ORDER BY id < 1, id"
            ).fetchall()
            (last,) = self._db.execute(
                f"SELECT ifnull(max(id), 0) FROM {table} WHERE id {proper}"
            ).fetchone()
            if last + len(odd) > MAX_ID:
                odd = self._db.execute(f"SELECT id FROM {table} ORDER BY id < 1, id").fetchall()
                last = 0
            # No number is taken: it is below the old ids that follow, unless those are below 1.
            for number, (id_,) in enumerate(odd, last + 1):
                self._db.execute(f"UPDATE {table} SET id = ? WHERE id = ?", (number, id_))
        self._db.execute(
            f"UPDATE sqlite_sequence SET seq = (SELECT ifnull(max(id), 0) FROM {table}) "
            f"WHERE name = ? AND NOT (typeof(seq) = 'integer' AND seq {proper})",
            (table,),
        )

    def _delete(self, statement: str, ids: Iterable[int]) -> list[int]:
        """
        Execute *statement*, which returns the size of what it deletes, for each id.
        """
        return [size for id_ in ids for (size,) in self._db.execute(statement, (id_,))]

    def _count(self) -> None:
        self.count, self.record_size = self._db.execute(
            "SELECT count(*), ifnull(sum(length(data) + ifnull(length(session), 0)), 0) "
            f"FROM records WHERE {_HERE}",
            (self.moved.records,),
        ).fetchone()
        self.letters, self.letter_size = self._db.execute(
            "SELECT count(*), ifnull(sum(length(data) + length(CAST(answer AS BLOB))), 0) "
            f"FROM letters WHERE {_HERE}",
            (self.moved.letters,),
        ).fetchone()
        (last,) = self._db.execute(
            "SELECT max(ifnull(max(id), 0), ifnull((SELECT CAST(max(seq) AS INTEGER) "
            "FROM sqlite_sequence WHERE name = 'records'), 0)) FROM records"
        ).fetchone()
        self._next_id = 1 + last
