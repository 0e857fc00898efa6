"""
What the store keeps and for how long, and that reading never holds up writing.
"""

from __future__ import annotations

import asyncio
import sqlite3
import stat
import tempfile
import threading
from contextlib import closing
from pathlib import Path

import pytest

from hh_exporter._collector.lists import count, one_event
from hh_exporter._collector.reader import TooMuchError
from hh_exporter._collector.store import EventRow, Retention, SessionRow, Store
from hh_exporter.exceptions import ExporterError
from tests.collector_client import ONE

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"


def event(name: str, *, session: str = "s", time: int = 0) -> EventRow:
    return EventRow(b"{}", name, session, ONE, time)


def events(count: int, *, time: int = 0) -> list[EventRow]:
    return [event(f"e{n}", session=f"s{n}", time=time) for n in range(count)]


def files(directory: Path) -> list[Path]:
    return list(directory.iterdir())


async def ids(store: Store) -> list[str]:
    return [row.event_id async for rows in store.events() for row in rows]


async def sessions(store: Store) -> list[str]:
    return [row.session_id async for rows in store.sessions() for row in rows]


class TestRetention:
    """
    What is over the bounds goes, the oldest first.
    """

    async def test_the_newest_are_kept(self) -> None:
        """
        Of more events than may be kept, the first ones go, in text and number.
        """
        async with Store.open(None, Retention(max_events=3)) as store:
            for n in range(5):
                await store.add([event(f"e{n}")])

            assert await ids(store) == ["e2", "e3", "e4"]
            assert await store.count() == 3

    async def test_the_old_go_at_the_next_write(self) -> None:
        """
        An event leaves when one arrives that is younger by more than the age.
        """
        async with Store.open(None, Retention(max_age=10)) as store:
            await store.add([event("old", time=0), event("young", time=1)])
            await store.add([event("at the age", time=10_000)])
            assert await ids(store) == ["old", "young", "at the age"]

            await store.add([event("new", time=10_001)])

            assert await ids(store) == ["young", "at the age", "new"]

    async def test_a_session_alone_makes_the_old_go(self) -> None:
        """
        All events may be too old; the next one has a new id all the same.
        """
        async with Store.open(None, Retention(max_age=10)) as store:
            await store.add([event("a"), event("b")])
            await store.add([], SessionRow(b"{}", "s2", 20_000))
            assert (await ids(store), await store.count()) == ([], 0)
            assert await sessions(store) == ["s2"]

            await store.add([event("c", time=20_000)])

            assert await store.reader.ask(one_event, 2) is None
            found = await store.reader.ask(one_event, 3)
            assert found is not None
            assert found.summary["event_id"] == "c"

    async def test_a_clock_that_goes_back_leaves_no_gap(self) -> None:
        """
        An old event behind a young one stays until that goes: rows leave from the front.
        """
        async with Store.open(None, Retention(max_age=10)) as store:
            await store.add([event("young", time=50_000), event("old", time=0)])
            await store.add([event("new", time=55_000)])
            assert await ids(store) == ["young", "old", "new"]

            await store.add([event("newer", time=61_000)])

            assert await ids(store) == ["new", "newer"]
            assert await store.count() == 2

    async def test_a_bound_that_is_lowered_is_reached_bit_by_bit(self, tmp_path: Path) -> None:
        """
        No write removes more than some hundred rows, and enough writes remove them all.
        """
        async with Store.open(tmp_path / "events.db") as store:
            await store.add(events(1000))

        async with Store.open(tmp_path / "events.db", Retention(max_events=10)) as store:
            counts: list[int] = []
            while not counts or counts[-1] > 10:
                await store.add([event("new")])
                counts.append(await store.count())

        assert counts[0] > 800
        assert 5 < len(counts) < 20

    async def test_a_session_goes_with_its_last_event(self) -> None:
        """
        One of which an event is left stays, as old as it may be.
        """
        async with Store.open(None, Retention(max_events=2)) as store:
            for n, session in enumerate(("long", "short", "long", "other")):
                await store.add([event(f"e{n}", session=session)])

            assert await sessions(store) == ["long", "other"]

    async def test_sessions_without_events_are_bounded(self) -> None:
        """
        Of those that only requests spoke of, as many stay as events would.
        """
        async with Store.open(None, Retention(max_events=3)) as store:
            for n in range(9):
                await store.add([], SessionRow(b"{}", f"s{n}", 0))
            await store.add([event("e", session="s7")])

            assert await sessions(store) == ["s6", "s7", "s8"]

    async def test_what_is_said_of_a_session_is_bounded(self) -> None:
        """
        Properties that would outgrow a body are replaced, where smaller ones are merged.
        """
        said = [b'{"metadata":{"%d":"%b"}}' % (n, b"x" * 12 * 2**20) for n in range(3)]
        async with Store.open(None) as store:
            for properties in said:
                await store.add([], SessionRow(properties, "s", 0))

            [row] = [row async for rows in store.sessions() for row in rows]
            assert row.properties == said[-1]


class TestFile:
    """
    Where the rows are.
    """

    async def test_a_temporary_file_is_removed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """
        It is a real file while the store is open, which a second connection reads.
        """
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        async with Store.open(None) as store:
            await store.add([event("e")])
            [directory] = files(tmp_path)
            assert directory.stat().st_mode & 0o777 == 0o700
            with closing(sqlite3.connect(directory / "events.db")) as connection:
                assert connection.execute("SELECT count(*) FROM events").fetchone() == (1,)

        assert files(tmp_path) == []

    async def test_a_name_has_no_meaning_for_sqlite(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """
        A file may be called as SQLite calls memory.
        """
        monkeypatch.chdir(tmp_path)
        async with Store.open(":memory:") as store:
            await store.add([event("e")])
            assert await ids(store) == ["e"]

        assert files(tmp_path) == [tmp_path / ":memory:"]

    async def test_its_owner_alone_can_read_it(self, tmp_path: Path) -> None:
        """
        Whatever the umask, and whatever mode a file has that is there already.
        """
        (tmp_path / "old.db").touch(0o644)
        for name in ("new.db", "old.db"):
            async with Store.open(tmp_path / name) as store:
                await store.add([event("e")])
                family = [path for path in files(tmp_path) if path.name.startswith(name)]
                assert len(family) == 3
                assert {stat.S_IMODE(path.stat().st_mode) for path in family} == {0o600}

    async def test_a_blank_name_is_refused(self) -> None:
        """
        Who names a file wants the events kept, although a variable was empty.
        """
        with pytest.raises(ExporterError, match="can't be the collector's database"):
            async with Store.open(""):
                pass


class TestReader:
    """
    Questions, on a connection of their own.
    """

    async def test_writing_does_not_wait_for_reading(self) -> None:
        """
        Events are stored while a question is worked on, and it does not see them.
        """
        asked, go_on = threading.Event(), threading.Event()

        def slow(db: sqlite3.Connection) -> tuple[int, int]:
            before = count(db)
            asked.set()
            go_on.wait()
            return before, count(db)

        async with Store.open(None) as store:
            await store.add([event("a")])
            answer = asyncio.create_task(store.reader.ask(slow))
            await asyncio.to_thread(asked.wait)
            await store.add([event("b")])
            go_on.set()

            assert await answer == (1, 1)
            assert await store.count() == 2

    async def test_a_question_is_not_worked_on_for_long(self) -> None:
        """
        One without an end is given up, and the next one is answered.
        """
        async with Store.open(None) as store:
            with pytest.raises(TooMuchError, match="takes too long"):
                await store.reader.ask(lambda db: db.execute(ENDLESS).fetchone())

            assert await store.count() == 0

    async def test_closing_does_not_wait_for_an_answer(self) -> None:
        """
        A question at hand is given up when the store closes.
        """
        asked = threading.Event()

        def endless(db: sqlite3.Connection) -> None:
            asked.set()
            db.execute(ENDLESS).fetchone()

        async with Store.open(None) as store:
            question = asyncio.create_task(store.reader.ask(endless))
            await asyncio.to_thread(asked.wait)

        with pytest.raises(sqlite3.OperationalError, match="interrupted"):
            await question

    async def test_a_question_changes_nothing(self) -> None:
        """
        The connection that reads can't write.
        """
        async with Store.open(None) as store:
            with pytest.raises(sqlite3.OperationalError, match="readonly"):
                await store.reader.ask(lambda db: db.execute("DELETE FROM events"))
