"""
What the store keeps and for how long, and that reading never holds up writing.
"""

from __future__ import annotations

import asyncio
import sqlite3
import stat
import tempfile
import threading
from contextlib import closing, suppress
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hh_exporter._collector.query.charts import stats
from hh_exporter._collector.storage.lists import count, one_event
from hh_exporter._collector.storage.reader import TooMuchError
from hh_exporter._collector.storage.retention import Retention
from hh_exporter._collector.storage.schema import used_bytes
from hh_exporter._collector.storage.store import EventRow, SessionRow, Store
from hh_exporter._collector.storage.updates import UnknownEventError
from hh_exporter.exceptions import ExporterError
from tests.collector_client import ONE

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"


INCREMENTAL = 2
"""How SQLite numbers the auto-vacuum of a file that gives back what it is told."""
SPARE = 8 * 2**20
"""What a file may have of free space."""
SMALL = 2**20


def event(name: str, *, session: str = "s", time: int = 0, size: int = 0) -> EventRow:
    text = b'{"inputs":{"q":"%b"}}' % (b"x" * size) if size else b"{}"
    return EventRow(text, name, session, ONE, time)


def events(count: int, *, time: int = 0) -> list[EventRow]:
    return [event(f"e{n}", session=f"s{n}", time=time) for n in range(count)]


def files(directory: Path) -> list[Path]:
    return list(directory.iterdir())


async def ids(store: Store) -> list[str]:
    return [row.event_id async for rows in store.events() for row in rows]


async def used(store: Store) -> int:
    return await store.reader.ask(used_bytes)


async def store_name(store: Store) -> str:
    return str((await store.reader.ask(stats))["store"])


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


class TestBytes:
    """
    The file is bounded, too, whatever arrives.
    """

    async def test_the_newest_that_fit_are_kept(self, tmp_path: Path) -> None:
        """
        The oldest make room, and the file does not grow on.
        """
        async with Store.open(tmp_path / "events.db", Retention(max_bytes=4 * SMALL)) as store:
            for n in range(200):
                await store.add([event(f"e{n}", size=100_000)])
                assert await used(store) <= 4 * SMALL

            kept = await ids(store)
            assert kept == [f"e{n}" for n in range(200 - len(kept), 200)]
            assert 30 < len(kept) < 42

        assert (tmp_path / "events.db").stat().st_size <= 4 * SMALL + SPARE

    async def test_the_newest_stays_whatever_its_size(self) -> None:
        """
        Of events beyond the bound, there is one at each time, with its session.
        """
        async with Store.open(None, Retention(max_bytes=1)) as store:
            for n in range(3):
                await store.add([event(f"e{n}", session=f"s{n}", size=1_000_000)])
                assert await ids(store) == [f"e{n}"]
                assert await sessions(store) == [f"s{n}"]

    async def test_a_large_one_takes_the_place_of_many(self) -> None:
        """
        One write makes all the room that it took, however small the others are.
        """
        async with Store.open(None, Retention(max_bytes=6 * SMALL)) as store:
            for n in range(12):
                await store.add(
                    [event(f"e{n}-{m}", session=f"s{n}-{m}", size=200) for m in range(1000)]
                )
            before = await store.count()

            await store.add([event("large", size=5_000_000)])

            assert await used(store) <= 6 * SMALL
            assert (await ids(store))[-1] == "large"
            assert 1 < await store.count() < before / 2

    async def test_a_bound_that_is_lowered_is_reached_bit_by_bit(self, tmp_path: Path) -> None:
        """
        No write removes more than some megabytes, and the file shrinks as it goes.
        """
        path = tmp_path / "events.db"
        async with Store.open(path) as store:
            for _ in range(4):
                await store.add([event("old", size=10_000) for _ in range(1000)])
        full = path.stat().st_size

        async with Store.open(path, Retention(max_bytes=full // 10)) as store:
            sizes = [await used(store)]
            while sizes[-1] > full // 10:
                await store.add([event("new", size=10)])
                sizes.append(await used(store))
            for _ in range(60):
                await store.add([event("new", size=10)])

        assert 20 < len(sizes) < 80
        assert max(before - after for before, after in pairwise(sizes)) < 2 * SMALL
        assert full > 4 * SPARE
        assert path.stat().st_size < full // 10 + SPARE + SMALL

    async def test_what_is_added_to_events_counts(self) -> None:
        """
        An update that makes an event grow makes the older ones go.
        """
        async with Store.open(None, Retention(max_bytes=2 * SMALL)) as store:
            await store.add([event(f"e{n}", size=100_000) for n in range(10)])
            for n in range(10):
                await store.update("e9", {"metadata": {f"m{n}": "x" * 100_000}})

            assert await used(store) <= 2 * SMALL
            assert "e0" not in await ids(store)
            assert "e9" in await ids(store)

    async def test_sessions_without_events_count(self) -> None:
        """
        The older ones go, and the newest stays.
        """
        async with Store.open(None, Retention(max_bytes=SMALL)) as store:
            for n in range(9):
                await store.add([], SessionRow(b'{"x":"%b"}' % (b"x" * 400_000), f"s{n}", n))
            assert await used(store) <= SMALL
            assert (await sessions(store))[-1] == "s8"
            assert len(await sessions(store)) == 2

            await store.add([event("e", time=9, size=900_000)])
            assert await sessions(store) == ["s"]

    async def test_what_is_older_goes_first(self) -> None:
        """
        A session that waits for its events outlives events that are older.
        """
        async with Store.open(None, Retention(max_bytes=2 * SMALL)) as store:
            for n in range(10):
                await store.add([event(f"e{n}", time=n, size=100_000)])
            await store.add([], SessionRow(b'{"x":"%b"}' % (b"x" * 900_000), "waits", 20))
            await store.add([event("other", session="o", time=30, size=500_000)])

            assert "waits" in await sessions(store)
            assert "e0" not in await ids(store)

    @given(
        st.lists(
            st.tuples(st.sampled_from("esu"), st.integers(0, 300_000), st.integers(1, 30)),
            max_size=20,
        )
    )
    def test_nothing_makes_it_grow(self, writes: list[tuple[str, int, int]]) -> None:
        """
        After any writes it fits, unless there is but one event and one session beside its own.
        """

        async def write() -> None:
            async with Store.open(None, Retention(max_bytes=SMALL)) as store:
                for n, (kind, size, many) in enumerate(writes):
                    match kind:
                        case "e":
                            new = [
                                event(f"e{n}-{m}", session=f"s{m}", time=n, size=size // many)
                                for m in range(many)
                            ]
                            await store.add([*new, event("last", session="s0", time=n)])
                        case "s":
                            said = b'{"x%d":"%b"}' % (n, b"x" * size)
                            await store.add([], SessionRow(said, f"s{many}", n))
                        case _:
                            with suppress(UnknownEventError):
                                await store.update("last", {"metadata": {str(n): "x" * size}})
                    kept = await sessions(store)
                    assert await used(store) <= SMALL or await store.count() <= 1 >= len(kept) - 1
                    if "e" in [kind for kind, *_ in writes[: n + 1]]:
                        assert (await ids(store))[-1] == "last"

        asyncio.run(write())


class TestClearing:
    """
    All of it goes at once, for those who look, and bit by bit, for those who write.
    """

    async def test_everything_goes_and_ids_count_on(self, tmp_path: Path) -> None:
        """
        Also sessions that never had an event, and the space that it took.
        """
        path = tmp_path / "events.db"
        async with Store.open(path) as store:
            for n in range(5):
                await store.add([event(f"e{n}-{m}", size=20_000) for m in range(500)])
            await store.add([], SessionRow(b'{"session_name":"n"}', "alone", 0))
            before = await store_name(store)

            assert await store.clear() == 2500

            assert (await ids(store), await sessions(store), await store.count()) == ([], [], 0)
            assert await store_name(store) != before
            assert path.stat().st_size < SMALL
            await store.add([event("new")])
            found = await store.reader.ask(one_event, 2501)
            assert found is not None
            assert found.summary["event_id"] == "new"

    async def test_what_arrives_meanwhile_stays(self) -> None:
        """
        A write waits for one step alone, and its events are none of those that go.
        """
        async with Store.open(None) as store:
            await store.add([event(f"e{n}", session=f"s{n}") for n in range(5000)])
            clearing = asyncio.create_task(store.clear())
            await asyncio.sleep(0)  # it begins
            counts: list[int] = []
            while not clearing.done():
                await store.add([event("new", session="s4999")])
                counts.append(await store.count())
            await store.add([event("last", session="s4999")])

            assert await clearing == 5000
            assert any(count > 1000 for count in counts)
            assert {*await ids(store)} == {"new", "last"}
            assert await sessions(store) == ["s4999"]

    async def test_nothing_to_clear_is_another_database_too(self) -> None:
        """
        Who asks for it gets it.
        """
        async with Store.open(None) as store:
            before = await store_name(store)

            assert await store.clear() == 0

            assert await store_name(store) != before

    async def test_a_reader_does_not_hold_it(self, tmp_path: Path) -> None:
        """
        While somebody else reads, all goes; the file shrinks after that.
        """
        path = tmp_path / "events.db"
        async with Store.open(path) as store:
            for _ in range(2):
                await store.add([event("e", size=10_000) for _ in range(1000)])
            with closing(sqlite3.connect(path)) as other:
                other.execute("BEGIN")
                other.execute("SELECT count(*) FROM events").fetchone()

                assert await store.clear() == 2000
                assert await store.count() == 0

            await store.add([event("new")])

        assert path.stat().st_size < SMALL


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

    async def test_one_that_somebody_deletes_is_written_on(self, tmp_path: Path) -> None:
        """
        It is gone when the store closes; until then events are stored and read.
        """
        path = tmp_path / "events.db"
        async with Store.open(path) as store:
            await store.add([event("a")])
            assert await store.count() == 1
            path.unlink()
            await store.add([event("b")])

            assert await ids(store) == ["a", "b"]

    @pytest.mark.parametrize("rows", [1, 14])
    async def test_one_of_an_earlier_version_learns_to_shrink(
        self, tmp_path: Path, rows: int
    ) -> None:
        """
        When it is opened, if that takes no time; else when it is cleared.
        """
        path = tmp_path / "events.db"
        async with Store.open(path) as store:
            for _ in range(rows):
                await store.add([event("e", size=5_000_000)])
        with closing(sqlite3.connect(path)) as db:
            db.executescript("PRAGMA journal_mode = DELETE; PRAGMA auto_vacuum = NONE; VACUUM")

        def mode() -> int:
            with closing(sqlite3.connect(path)) as db:
                return int(db.execute("PRAGMA auto_vacuum").fetchone()[0])

        async with Store.open(path) as store:
            assert mode() == (INCREMENTAL if rows == 1 else 0)
            assert len(await ids(store)) == rows
            await store.clear()
            assert mode() == INCREMENTAL
            assert path.stat().st_size < SMALL

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

    async def test_the_log_is_emptied_between_questions(self, tmp_path: Path) -> None:
        """
        While somebody reads it only grows; the one who reads cuts it after that.
        """
        asked, go_on = threading.Event(), threading.Event()
        log = tmp_path / "events.db-wal"

        def slow(db: sqlite3.Connection) -> int:
            before = count(db)
            asked.set()
            go_on.wait()
            return before

        async with Store.open(tmp_path / "events.db") as store:
            answer = asyncio.create_task(store.reader.ask(slow))
            await asyncio.to_thread(asked.wait)
            for _ in range(14):
                await store.add([event("e", size=5_000_000)])
            assert log.stat().st_size > 64 * SMALL
            go_on.set()

            assert await answer == 0
            assert log.stat().st_size == 0
            assert await store.count() == 14

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
