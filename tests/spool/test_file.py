"""
One spool file: what is committed is there for the next holder, however this one ends.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from random import Random

import pytest
from attrs import evolve

from hh_exporter import SessionProperties
from hh_exporter._dialects.legacy import LegacyDialect
from hh_exporter._dialects.vendor import to_session_uuid
from hh_exporter._records import MAIN
from hh_exporter._spool import file as spool_file
from hh_exporter._spool import schema, seals
from hh_exporter._spool.file import SpoolFile
from hh_exporter._spool.kept import Letter, Match, SpooledRecord
from hh_exporter._spool.place import is_held, list_files, set_aside
from hh_exporter.exceptions import SpoolError
from tests.builders import make_letter, make_spooled
from tests.spool_processes import IDENTITY, KEY, Processes, content, processes, records_of

OTHERS = [
    evolve(IDENTITY, base_url="https://other.example"),
    evolve(IDENTITY, dialect="v1"),
    evolve(IDENTITY, api_key="hh_other_key"),
    evolve(IDENTITY, api_key=None),
]

EVENTS = {
    "plain": b'{"session_id": "s1"}',
    "user": b'{"session_id": "s1", "user_properties": {"user": "ann"}}',
    "email": b'{"session_id": "s2", "user_properties": {"plan": "pro", "email": "ann"}}',
    "number": b'{"user_properties": {"id": 42, "flag": true}}',
    "named": b'{"session_id": "%s"}' % to_session_uuid("chat 7").encode(),
    "deeper": b'{"metadata": {"user": "ann", "session_id": "s1"}}',
    "odd": b'["ann", "s1"]',
    "no object": b'{"user_properties": ["ann"]}',
    "no json": b"ann s1",
}
"""What events say of whose they are, in their own ways."""


def add(file: SpoolFile, *records: SpooledRecord) -> range:
    with file.transaction():
        return file.add(records)


def bury(file: SpoolFile, *letters: Letter) -> None:
    with file.transaction():
        file.bury(letters)


def event_ids(file: SpoolFile) -> list[str]:
    found = [file.record(id_) for id_ in file.ids()]
    return [one.event_id for one in found if one is not None]


def letter_event_ids(file: SpoolFile) -> list[str]:
    found = [file.letter(id_) for id_ in file.letter_ids()]
    return [one.event_id for one in found if one is not None]


def totals(file: SpoolFile) -> tuple[int, int, int]:
    return file.count, file.letters, file.size


def counted(path: Path) -> tuple[int, int, int]:
    """
    Count what is in a file anew.
    """
    found = SpoolFile.peek(path)
    assert found is not None
    try:
        return totals(found)
    finally:
        found.close()


def adopt(path: Path) -> SpoolFile:
    found = SpoolFile.adopt(path, IDENTITY)
    assert found is not None
    return found


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def file(directory: Path) -> Iterator[SpoolFile]:
    file = SpoolFile.create(directory, IDENTITY)
    yield file
    file.close(remove_empty=False)


@pytest.fixture
def left(directory: Path) -> Path:
    """
    A file with two records and a letter that nobody holds.
    """
    file = SpoolFile.create(directory, IDENTITY)
    with file.transaction():
        file.add([make_spooled("a"), make_spooled("b")])
        file.bury([make_letter("c")])
    file.close()
    return file.path


@pytest.fixture(scope="module")
def nursery() -> Iterator[Processes]:
    with processes() as some:
        yield some


class TestRecords:
    """
    What waits to be sent.
    """

    def test_a_record_is_read_as_it_was_added(self, file: SpoolFile) -> None:
        """
        Every field of a record survives, its bytes exactly.
        """
        given = SpooledRecord(
            event_id="é\0",
            data=b'{"\xff\x00"}',
            pushed_at=1.25,
            tried_for=0.5,
            session_id="s",
            session=b",\x00",
        )
        (id_,) = add(file, given)

        assert file.record(id_) == evolve(given, id=id_)

    def test_records_are_listed_in_order_of_arrival(self, file: SpoolFile) -> None:
        """
        Ids rise from commit to commit, and those after a given one can be listed.
        """
        first = add(file, make_spooled("a"), make_spooled("b"))
        second = add(file, make_spooled("c"))

        assert file.ids() == [*first, *second]
        assert file.ids(limit=len(first)) == [*first]
        assert event_ids(file) == ["a", "b", "c"]

    def test_an_id_is_never_given_twice(self, file: SpoolFile) -> None:
        """
        Also once its record is gone and the file was closed, an id stays its own.
        """
        ids = add(file, make_spooled(), make_spooled())
        bury(file, make_letter())
        with file.transaction():
            file.remove(ids)
        file.close()
        again = adopt(file.path)
        later = add(again, make_spooled())
        again.close()

        assert later.start == ids.stop

    def test_what_is_gone_is_none(self, file: SpoolFile) -> None:
        """
        A removed record reads as None, and to remove it again removes nothing.
        """
        ids = add(file, make_spooled())
        with file.transaction():
            removed = file.remove(ids), file.remove(ids)

        assert removed == (1, 0)
        assert file.record(ids[0]) is None
        assert totals(file) == (0, 0, 0)

    def test_totals_are_those_of_what_is_in_it(self, file: SpoolFile) -> None:
        """
        Counts and bytes are kept as if they were counted each time.
        """
        ids = add(file, make_spooled(data=b"12345", session=b"678"), make_spooled(data=b"9"))
        bury(file, make_letter(data=b"123"), make_letter())
        assert (
            totals(file) == counted(file.path) == (2, 2, 9 + 3 + 2 + 2 * len("thé answer".encode()))
        )

        with file.transaction():
            file.remove(ids[:1])
            file.discard(file.letter_ids()[:1])
        assert totals(file) == counted(file.path) == (1, 1, 1 + 2 + len("thé answer".encode()))

    def test_the_oldest_is_the_one_pushed_first(self, file: SpoolFile) -> None:
        """
        Whichever came first, the oldest record is told by when it was pushed.
        """
        assert file.oldest_pushed_at() is None
        add(file, make_spooled(pushed_at=7.0), make_spooled(pushed_at=3.0))

        assert file.oldest_pushed_at() == 3.0

    def test_a_transaction_that_fails_leaves_nothing(self, file: SpoolFile) -> None:
        """
        After an exception in it, the file and its totals are as before.
        """
        add(file, make_spooled("a"))
        bury(file, make_letter("b"))
        before = totals(file)

        def change_and_fail() -> None:
            with file.transaction():
                file.add([make_spooled("c")])
                file.bury([make_letter("d")])
                file.remove(file.ids()[:1])
                file.discard(file.letter_ids()[:1])
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            change_and_fail()

        assert totals(file) == counted(file.path) == before
        assert event_ids(file) == ["a"]
        assert letter_event_ids(file) == ["b"]
        assert add(file, make_spooled()).start == 2


class TestLetters:
    """
    What is kept for a person.
    """

    def test_a_letter_is_read_as_it_was_buried(self, file: SpoolFile) -> None:
        """
        Every field of a letter survives, its bytes exactly.
        """
        given = evolve(
            make_letter(), data=b"\xff\x00", status=None, outcome="dropped", reason="expired"
        )
        bury(file, given)
        (id_,) = file.letter_ids()

        assert file.letter(id_) == evolve(given, id=id_)

    def test_a_revived_letter_is_a_record_again(self, file: SpoolFile) -> None:
        """
        It goes behind all records with the bytes and the age that it had, and is no letter.
        """
        bury(file, make_letter("a", b"1", pushed_at=3.0), make_letter("b"))
        add(file, make_spooled("c"))
        first, _ = file.letter_ids()
        with file.transaction():
            revived = file.revive([first, 99])

        assert revived == [first]
        assert letter_event_ids(file) == ["b"]
        assert file.record(file.ids()[-1]) == evolve(make_spooled("a", b"1", pushed_at=3.0), id=2)
        assert totals(file) == counted(file.path)

    def test_a_discarded_letter_is_gone(self, file: SpoolFile) -> None:
        """
        It is not listed any more, and to discard it again discards nothing.
        """
        bury(file, make_letter("a"), make_letter("b"))
        ids = file.letter_ids()[:1]
        with file.transaction():
            discarded = file.discard(ids), file.discard(ids)

        assert discarded == (1, 0)
        assert file.letter(ids[0]) is None
        assert letter_event_ids(file) == ["b"]


class TestPurging:
    """
    What is to be forgotten is found by session, by user and by age.
    """

    @pytest.fixture
    def full(self, file: SpoolFile) -> SpoolFile:
        for event_id, data in EVENTS.items():
            add(file, make_spooled(event_id, data))
            bury(file, make_letter(event_id, data))
        return file

    @pytest.mark.parametrize(
        ("match", "purged"),
        [
            (Match(session_id="s1"), ["plain", "user"]),
            (Match(user="ann"), ["user", "email"]),
            (Match(user="ann", session_id="s2"), ["email"]),
            (Match(user="42"), ["number"]),
            (Match(user="True"), []),
            (Match(user="nobody"), []),
            (Match(session_id="chat 7"), ["named"]),
            (Match(session_id=to_session_uuid("chat 7")), ["named"]),
            (Match(session_id="nowhere"), []),
            (Match(reason="too_large"), []),
            (Match(), list(EVENTS)),
        ],
        ids=str,
    )
    def test_what_matches_is_purged(
        self, full: SpoolFile, match: Match, purged: Sequence[str]
    ) -> None:
        """
        Records and letters that fit all that is given are gone, and no others.
        """
        kept = [event_id for event_id in EVENTS if event_id not in purged]
        with full.transaction():
            numbers = full.purge(match)

        assert numbers == (len(purged), len(purged))
        assert event_ids(full) == kept
        assert letter_event_ids(full) == kept
        assert totals(full) == counted(full.path)

    def test_a_session_to_announce_says_whose_a_record_is(self, file: SpoolFile) -> None:
        """
        A record that still announces the session of a user is that user's.
        """
        session = SessionProperties(session_id="s", user_properties={"user_id": "ann"})
        add(
            file,
            make_spooled("a", session=LegacyDialect().describe(session).data),
            make_spooled("b"),
        )

        assert file.find(Match(user="ann")) == ([1], [])
        assert file.find(Match(session_id="s")) == ([1], [])
        assert file.find(Match(user="bob")) == ([], [])

    def test_what_is_too_old_expires(self, file: SpoolFile) -> None:
        """
        Records and letters pushed before a moment go; one pushed at that moment stays.
        """
        add(file, make_spooled("a", pushed_at=1.0), make_spooled("b", pushed_at=2.0))
        bury(
            file,
            make_letter("c", pushed_at=1.5),
            make_letter("d", pushed_at=0.5),
            make_letter("e", pushed_at=9),
        )
        with file.transaction():
            records, letters = file.expire(2.0, 10)

        assert [lost.event_id for *_, lost in records] == ["a"]
        assert letters == 2
        assert event_ids(file) == ["b"]
        assert letter_event_ids(file) == ["e"]
        assert totals(file) == counted(file.path)

    def test_no_more_expires_at_once_than_is_asked_for(self, file: SpoolFile) -> None:
        """
        The oldest go first, and what is spared stays.
        """
        add(file, *[make_spooled(f"{age}", pushed_at=age) for age in (3.0, 1.0, 2.0)])
        bury(file, *[make_letter(f"{age}", pushed_at=age) for age in (3.0, 1.0, 2.0)])
        with file.transaction():
            records, letters = file.expire(9.0, 2, spared={2})

        assert ([id_ for id_, *_ in records], letters) == ([3], 2)
        assert event_ids(file) == ["3.0", "1.0"]
        assert letter_event_ids(file) == ["3.0"]

    def test_no_bytes_of_what_was_purged_stay_in_the_file(self, file: SpoolFile) -> None:
        """
        Once it was closed, the file holds nothing of what was forgotten.
        """
        secret = b"canary-in-a-payload"
        data = b'{"session_id": "s", "text": "%b"}' % (secret * 2_000)
        add(file, make_spooled(), *[make_spooled(data=data) for _ in range(5)])
        bury(file, make_letter(data=data), make_letter())
        with file.transaction():
            file.purge(Match(session_id="s"))
        file.close()

        assert [f.name for f in file.path.parent.iterdir() if secret in f.read_bytes()] == []


class TestOwnership:
    """
    Who may have a file.
    """

    def test_a_closed_file_can_be_adopted(self, left: Path) -> None:
        """
        What one holder left is what the next one finds.
        """
        file = adopt(left)

        assert event_ids(file) == ["a", "b"]
        assert letter_event_ids(file) == ["c"]
        assert (file.base_url, file.dialect) == (IDENTITY.base_url, IDENTITY.dialect)
        assert totals(file) == counted(left)
        file.close()

    def test_a_file_has_one_holder(self, file: SpoolFile) -> None:
        """
        Nobody adopts what somebody holds; after close, somebody can.
        """
        add(file, make_spooled())

        assert is_held(file.path)
        assert SpoolFile.adopt(file.path, IDENTITY) is None
        file.close()
        assert not is_held(file.path)
        adopt(file.path).close()

    @pytest.mark.parametrize("other", OTHERS, ids=["address", "dialect", "key", "no key"])
    def test_another_identity_gets_nothing(self, left: Path, other: object) -> None:
        """
        Who sends elsewhere, otherwise or with another key does not adopt it, nor change it.
        """
        before = left.read_bytes()

        assert SpoolFile.adopt(left, other) is None  # type: ignore[arg-type]
        assert left.read_bytes() == before
        adopt(left).close()

    def test_no_identity_asks_for_no_proof(self, left: Path) -> None:
        """
        A person at the command line may open each file of their own.
        """
        file = SpoolFile.adopt(left, None)

        assert file is not None
        assert file.count == 2
        file.close()

    def test_the_key_is_in_no_file(self, file: SpoolFile) -> None:
        """
        Only its salted hash is kept, which differs from file to file.
        """
        other = SpoolFile.create(file.path.parent, IDENTITY)
        digests = {seals.read_seal(f._db).digest for f in (file, other)}

        assert len(digests) == 2
        assert not [f for f in file.path.parent.iterdir() if KEY.encode() in f.read_bytes()]
        assert KEY not in repr(IDENTITY)
        other.close()

    def test_only_the_owner_can_read_it(self, directory: Path) -> None:
        """
        Whatever the umask allows, each file is 0600 and a directory that we make 0700.
        """
        umask = os.umask(0)
        try:
            file = SpoolFile.create(directory, IDENTITY)
            add(file, make_spooled())
        finally:
            os.umask(umask)
        modes = {path.name.partition(".")[2]: path.stat().st_mode for path in directory.iterdir()}
        file.close()

        assert sorted(modes) == ["spool", "spool-shm", "spool-wal", "spool.lock"]
        assert {stat.S_IMODE(mode) for mode in modes.values()} == {0o600}
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700

    def test_a_program_that_is_started_meanwhile_inherits_nothing(self, file: SpoolFile) -> None:
        """
        Neither the lock nor the database is open in a child that keeps its descriptors.
        """
        add(file, make_spooled())
        listing = subprocess.run(
            ["ls", "-l", "/proc/self/fd"],
            capture_output=True,
            text=True,
            close_fds=False,
            check=True,
        )

        assert file.path.name not in listing.stdout

    def test_a_file_that_others_may_read_is_refused(self, left: Path) -> None:
        """
        Its records may be somebody else's by now.
        """
        left.chmod(0o640)

        with pytest.raises(SpoolError, match="only this user can read"):
            SpoolFile.adopt(left, IDENTITY)

    def test_a_link_is_refused(self, left: Path) -> None:
        """
        A file that is somewhere else is not ours to open from here.
        """
        link = left.with_stem("link")
        link.symlink_to(left)

        with pytest.raises(SpoolError, match="not a file that only this user"):
            SpoolFile.adopt(link, IDENTITY)

    def test_what_belongs_to_somebody_else_is_refused(
        self, left: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """
        Neither is a file adopted nor one made where another user is at home.
        """
        monkeypatch.setattr(os, "geteuid", lambda: left.stat().st_uid + 1)

        with pytest.raises(SpoolError, match="only this user can"):
            SpoolFile.adopt(left, IDENTITY)
        with pytest.raises(SpoolError, match="only this user can"):
            SpoolFile.create(left.parent, IDENTITY)

    def test_a_directory_that_others_may_write_to_is_refused(self, left: Path) -> None:
        """
        Who may write to it chooses what we read.
        """
        left.parent.chmod(0o770)

        with pytest.raises(SpoolError, match="only this user can write to"):
            SpoolFile.create(left.parent, IDENTITY)
        with pytest.raises(SpoolError, match="only this user can write to"):
            SpoolFile.adopt(left, IDENTITY)

    def test_a_directory_that_is_a_link_is_refused(self, left: Path, tmp_path: Path) -> None:
        """
        Somebody who can turn a link can turn it elsewhere.
        """
        link = tmp_path / "link"
        link.symlink_to(left.parent)

        with pytest.raises(SpoolError, match="not a directory that only this user"):
            SpoolFile.create(link, IDENTITY)

    def test_a_child_leaves_the_file_to_its_parent(
        self, nursery: Processes, directory: Path
    ) -> None:
        """
        After a fork the parent goes on with it, and its end frees it though the child lives.
        """
        pid = nursery.start("hold_and_fork", directory)
        path = Path(nursery.read())
        assert nursery.read().startswith("child")
        nursery.kill(pid)
        file = adopt(path)

        assert file.count == 0
        file.close()


class TestLife:
    """
    How a file begins and ends.
    """

    def test_an_empty_file_is_removed_at_its_end(self, directory: Path) -> None:
        """
        Nothing is left in the directory of a file that has nothing in it.
        """
        SpoolFile.create(directory, IDENTITY).close()

        assert list(directory.iterdir()) == []

    def test_close_works_twice(self, file: SpoolFile) -> None:
        """
        A second close touches no descriptor that may be somebody else's by now.
        """
        file.close()
        with Path(os.devnull).open() as other:
            file.close()

            assert os.fstat(other.fileno())

    def test_what_cannot_be_made_leaves_nothing(
        self, directory: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """
        A creation that fails takes back its file and its lock.
        """
        monkeypatch.setattr(schema, "_STEPS", (("nonsense",),))
        with pytest.raises(sqlite3.Error):
            SpoolFile.create(directory, IDENTITY)

        assert list(directory.iterdir()) == []

    @pytest.mark.parametrize("is_database", [False, True])
    def test_what_its_maker_did_not_finish_is_removed(
        self, directory: Path, is_database: bool
    ) -> None:
        """
        A file whose maker died before its first commit is nobody's, and holds nothing.
        """
        directory.mkdir(0o700)
        path = directory / "unfinished.spool"
        path.touch(0o600)
        if is_database:
            db = sqlite3.connect(path)
            db.execute("PRAGMA journal_mode = WAL")
            db.close()
        Path(f"{path}.lock").touch(0o600)

        assert SpoolFile.peek(path) is None
        assert SpoolFile.adopt(path, IDENTITY) is None
        assert list(directory.iterdir()) == []

    def test_a_file_that_is_gone_is_none(self, directory: Path) -> None:
        """
        Neither to adopt it nor to look at it makes it, or its directory.
        """
        path = directory / "gone.spool"

        assert SpoolFile.adopt(path, IDENTITY) is None
        assert SpoolFile.peek(path) is None
        assert not is_held(path)
        assert list_files(directory) == []
        assert not directory.exists()

    def test_a_file_that_goes_while_it_is_looked_at_is_none(
        self, file: SpoolFile, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """
        Its holder may let go of it and remove it between two steps of who comes to adopt it.
        """
        connect = schema.connect

        def closed_meanwhile(path: Path, mode: str) -> sqlite3.Connection:
            db = connect(path, mode)
            file.close()
            return db

        monkeypatch.setattr(schema, "connect", closed_meanwhile)

        assert SpoolFile.adopt(file.path, IDENTITY) is None
        assert list(file.path.parent.iterdir()) == []

    @pytest.mark.parametrize("is_waited_for", [True, False])
    def test_the_lock_of_a_file_that_is_gone_is_nothing(
        self, left: Path, monkeypatch: pytest.MonkeyPatch, is_waited_for: bool
    ) -> None:
        """
        Who comes to the lock just before or after its holder removes the file leaves no trace.
        """
        open_ = os.open

        def removed_meanwhile(path: str, *arguments: int) -> int:
            monkeypatch.undo()
            lock = open_(path, *arguments) if is_waited_for else None
            left.unlink()
            Path(path).unlink(missing_ok=True)
            return open_(path, *arguments) if lock is None else lock

        Path(f"{left}.lock").touch(0o600)
        monkeypatch.setattr(os, "open", removed_meanwhile)

        assert SpoolFile.adopt(left, None) is None
        assert list(left.parent.iterdir()) == []

    def test_a_newer_version_is_left_alone(self, left: Path) -> None:
        """
        What a later version of the package wrote is not touched.
        """
        db = sqlite3.connect(left)
        db.execute("PRAGMA user_version = 99")
        db.close()
        before = left.read_bytes()

        with pytest.raises(SpoolError, match="newer version"):
            SpoolFile.adopt(left, IDENTITY)
        with pytest.raises(SpoolError, match="newer version"):
            SpoolFile.peek(left)
        assert left.read_bytes() == before
        assert not is_held(left)

    def test_a_newer_version_that_runs_is_nobodys_concern(self, file: SpoolFile) -> None:
        """
        While its own program holds it there is nothing to adopt, and nothing to complain of.
        """
        file._db.execute("PRAGMA user_version = 99")

        assert SpoolFile.adopt(file.path, IDENTITY) is None

    def test_a_database_of_another_program_is_left_alone(self, directory: Path) -> None:
        """
        A name is no proof that a file is a spool.
        """
        directory.mkdir(0o700)
        path = directory / "other.spool"
        path.touch(0o600)
        db = sqlite3.connect(path)
        db.execute("CREATE TABLE records (id)")
        db.close()

        with pytest.raises(SpoolError, match="not a spool file"):
            SpoolFile.adopt(path, IDENTITY)
        assert path.exists()

    def test_any_older_version_can_be_looked_at(self) -> None:
        """
        As all that come before this one can be upgraded.
        """
        assert sorted(schema._SEEN_AS) == list(range(1, len(schema._STEPS)))

    def test_an_older_version_is_upgraded_by_its_next_holder(
        self, left: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """
        Each step that it lacks is taken once, and what was in it stays.
        """
        step = ("ALTER TABLE letters ADD COLUMN note TEXT DEFAULT 'new'",)
        monkeypatch.setattr(schema, "_STEPS", (*schema._STEPS, step))

        for _ in range(2):
            file = adopt(left)
            notes = file._db.execute("SELECT note FROM letters").fetchall()
            version = file._db.execute("PRAGMA user_version").fetchone()
            latest = len(schema._STEPS)
            assert (event_ids(file), notes, version) == (["a", "b"], [("new",)], (latest,))
            file.close()

    @pytest.mark.parametrize("is_looked_at", [False, True], ids=["adopt", "peek"])
    def test_what_was_written_without_a_route_has_the_main_one(
        self, left: Path, is_looked_at: bool
    ) -> None:
        """
        A file of the first version held model events alone; to look at it leaves it as it is.
        """
        with closing(sqlite3.connect(left)) as db:
            for table in ("records", "letters"):
                db.execute(f"ALTER TABLE {table} DROP COLUMN route")
            db.execute("PRAGMA user_version = 1")
        before = left.read_bytes()
        seen = seals.glance(left)

        file = SpoolFile.peek(left) if is_looked_at else adopt(left)

        assert file

        records = [file.record(id_) for id_ in file.ids()]
        assert [(r.event_id, r.route) for r in records if r] == [("a", MAIN), ("b", MAIN)]
        letters = [file.letter(id_) for id_ in file.letter_ids()]
        assert letters
        assert {letter.route for letter in letters if letter} == {MAIN}
        file.close()
        assert (left.read_bytes() == before) is is_looked_at
        assert seen
        assert seen.count == 2

    def test_an_upgrade_that_fails_changes_nothing(
        self, left: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """
        The steps are one transaction: a file has a version whole or not at all.
        """
        steps = schema._STEPS
        bad = ("ALTER TABLE letters ADD COLUMN note TEXT", "nonsense")
        monkeypatch.setattr(schema, "_STEPS", (*steps, bad))
        with pytest.raises(sqlite3.OperationalError):
            SpoolFile.adopt(left, IDENTITY)
        monkeypatch.setattr(schema, "_STEPS", steps)

        assert counted(left)[:2] == (2, 1)
        assert not is_held(left)

    @pytest.mark.parametrize(("fsync", "level"), [(False, 1), (True, 2)])
    def test_fsync_is_asked_of_sqlite(self, directory: Path, fsync: bool, level: int) -> None:
        """
        Each commit reaches the disk with it; without it the process's end loses nothing.
        """
        made = SpoolFile.create(directory, IDENTITY, fsync=fsync)
        add(made, make_spooled())
        levels = [made._db.execute("PRAGMA synchronous").fetchone()]
        made.close()
        adopted = SpoolFile.adopt(made.path, IDENTITY, fsync=fsync)
        assert adopted is not None
        levels.append(adopted._db.execute("PRAGMA synchronous").fetchone())
        adopted.close()

        assert levels == [(level,), (level,)]

    @pytest.mark.parametrize("fsync", [False, True])
    @pytest.mark.parametrize("is_left", [False, True])
    def test_what_nothing_depends_on_waits_for_no_disk(
        self, directory: Path, monkeypatch: pytest.MonkeyPatch, fsync: bool, is_left: bool
    ) -> None:
        """
        A new file is made, and one that is removed is closed, whatever the disk is busy with.

        What is in a file that stays is safe on disk; with fsync, so is a new file.
        """
        said: list[str] = []

        def traced(path: Path) -> sqlite3.Connection:
            db = schema.connect(path)
            db.set_trace_callback(said.append)
            return db

        monkeypatch.setattr(spool_file, "connect", traced)
        file = SpoolFile.create(directory, IDENTITY, fsync=fsync)
        added = add(file, make_spooled())
        if not is_left:
            with file.transaction():
                file.remove(added)
        file.close()

        words = {"PRAGMA journal_mode = WAL": "log", "COMMIT": "commit"}
        levels = ["FULL"]  # what SQLite begins with
        waits = []
        for statement in [*said, "close"]:
            if statement.startswith("PRAGMA synchronous = "):
                levels.append(statement.rpartition(" ")[2])
            elif statement in words or statement == "close":
                waits.append((words.get(statement, statement), levels[-1]))
        made, later = ("FULL", "FULL") if fsync else ("OFF", "NORMAL")
        assert waits[:2] == [("log", made), ("commit", made)]
        assert {level for _, level in waits[2:-1]} == {later}
        assert waits[-1] == ("close", later if is_left else "OFF")


class TestPeeking:
    """
    Whoever holds a file, it can be looked at.
    """

    def test_what_the_holder_committed_is_seen(self, file: SpoolFile) -> None:
        """
        A look takes no lock, and sees what is in the log.
        """
        add(file, make_spooled("a"))
        with file.transaction():
            file.add([make_spooled("b")])
            seen = SpoolFile.peek(file.path)
            assert seen is not None
            assert event_ids(seen) == ["a"]

        assert event_ids(seen) == ["a", "b"]
        assert seen.count == 1
        seen.close()
        assert is_held(file.path)

    def test_nothing_can_be_changed(self, left: Path) -> None:
        """
        A look is for reading alone, and its end removes nothing.
        """
        seen = SpoolFile.peek(left)
        assert seen is not None
        with pytest.raises(sqlite3.OperationalError, match="readonly"), seen.transaction():
            seen.remove(seen.ids())
        seen.close()

        assert counted(left)[:2] == (2, 1)

    def test_a_look_leaves_the_directory_as_it_was(self, left: Path) -> None:
        """
        Nothing is made beside a file that nobody holds, by a look or by who must not have it.
        """
        before = sorted(left.parent.iterdir())
        seen = SpoolFile.peek(left)
        assert seen is not None
        assert event_ids(seen) == ["a", "b"]
        seen.close()
        assert SpoolFile.adopt(left, OTHERS[0]) is None

        assert sorted(left.parent.iterdir()) == before

    def test_a_look_sees_what_the_dead_committed(self, nursery: Processes, directory: Path) -> None:
        """
        What a killed process had in its log is there, and stays as it was.
        """
        pid = nursery.start("write", directory)
        path = Path(nursery.read())
        acknowledged = int([nursery.read(), *nursery.kill(pid)][-1])
        before = sorted(directory.iterdir())
        seen = SpoolFile.peek(path)
        assert seen is not None
        found = set(event_ids(seen)), set(letter_event_ids(seen))
        seen.close()

        assert found in (content(acknowledged), content(acknowledged + 1))
        assert sorted(directory.iterdir()) == before

    def test_a_look_is_in_nobodys_way(self, left: Path) -> None:
        """
        While it lasts, a file is adopted, emptied and removed.
        """
        seen = SpoolFile.peek(left)
        assert seen is not None
        file = adopt(left)
        with file.transaction():
            file.purge(Match())
        file.close()

        assert list(left.parent.iterdir()) == []
        seen.close()


class TestDamage:
    """
    What can't be read is set aside, and stops nobody.
    """

    @staticmethod
    def fill(path: Path) -> None:
        file = adopt(path)
        add(file, *[make_spooled(f"{n}", b"." * 40_000) for n in range(40)])
        file.close()

    @pytest.mark.parametrize("damage", ["truncated", "header", "garbage", "payload"])
    def test_damage_is_found_when_it_is_adopted(self, left: Path, damage: str) -> None:
        """
        Whatever happened to it, a damaged file says so, is let go of, and can be set aside.
        """
        self.fill(left)
        data = left.read_bytes()
        page = len(data) // 16_384 // 2 * 16_384
        left.write_bytes(
            {
                "truncated": data[:-16_384],
                "header": b"\0" * 100 + data[100:],
                "garbage": Random(1).randbytes(50_000),
                "payload": data[:page] + b"\xff" * 16_384 + data[page + 16_384 :],
            }[damage]
        )
        with pytest.raises(sqlite3.DatabaseError) as caught:
            SpoolFile.adopt(left, IDENTITY)

        assert schema.is_corrupt(caught.value)
        assert not is_held(left)
        aside = set_aside(left)
        assert aside is not None
        assert aside.read_bytes()
        assert list_files(left.parent) == []
        assert [path for path in left.parent.iterdir() if "wal" not in path.name] == [aside]
        assert SpoolFile.adopt(left, IDENTITY) is None

    def test_another_trouble_is_no_damage(self, left: Path) -> None:
        """
        A file that can't be written to now is not given up for good.
        """
        seen = SpoolFile.peek(left)
        assert seen is not None
        with pytest.raises(sqlite3.Error) as caught:
            seen.add([make_spooled()])
        seen.close()

        assert not schema.is_corrupt(caught.value)

    def test_what_somebody_holds_is_not_set_aside(self, file: SpoolFile) -> None:
        """
        Its holder knows better.
        """
        assert set_aside(file.path) is None
        assert file.path.exists()

    def test_a_full_disk_leaves_the_totals_as_they_were(
        self, nursery: Processes, directory: Path
    ) -> None:
        """
        What could not be committed is not counted, its ids are free, and with room all goes on.
        """
        pid = nursery.start("fill_disk", directory)
        path = Path(nursery.read())
        commits, count, size, _ = nursery.read().split(maxsplit=3)
        id_, count_later, size_later = nursery.read().split()
        nursery.kill(pid)
        of_one = sum(r.size for r in records_of(0))

        assert int(commits) > 3
        assert (int(count), int(size)) == (3 * int(commits), of_one * int(commits))
        assert int(id_) == 3 * int(commits) + 1
        assert counted(path) == (int(count_later), 0, int(size_later))
        assert int(count_later) == int(count) + 3
        file = adopt(path)
        assert file.ids() == list(range(1, int(count_later) + 1))
        file.close()


class TestDeath:
    """
    How processes end: at any moment, and without a word.
    """

    def test_the_lock_ends_with_its_process(self, nursery: Processes, directory: Path) -> None:
        """
        What a live process holds nobody else gets; once it is killed, anybody can.
        """
        pid = nursery.start("write", directory)
        path = Path(nursery.read())

        assert is_held(path)
        assert SpoolFile.adopt(path, IDENTITY) is None
        seen = SpoolFile.peek(path)
        assert seen is not None
        seen.close()
        nursery.kill(pid)
        adopt(path).close()

    def test_one_of_many_adopts(self, left: Path) -> None:
        """
        However many try at once, one process has the file.
        """
        with processes() as some:
            pids = [some.start("hold", left) for _ in range(4)]
            some.open_gate()
            said = sorted(some.read() for _ in pids)

            assert said == ["got", "none", "none", "none"]
            assert SpoolFile.adopt(left, IDENTITY) is None

    def test_kill_9_loses_no_commit(self, nursery: Processes, directory: Path) -> None:
        """
        Killed at whatever moment, a file has all that was committed, and of one commit all or none.
        """
        check_kills(nursery, directory, rounds=10, random=Random(1))

    @pytest.mark.soak
    @pytest.mark.timeout(0)
    def test_kill_9_loses_no_commit_in_a_thousand_rounds(
        self, nursery: Processes, directory: Path
    ) -> None:
        """
        The same, at moments that are chosen anew.
        """
        check_kills(nursery, directory, rounds=1_000, random=Random())


def check_kills(nursery: Processes, directory: Path, rounds: int, random: Random) -> None:
    for _ in range(rounds):
        pid = nursery.start("write", directory)
        path = Path(nursery.read())
        said = [nursery.read() for _ in range(random.randrange(1, 40))]
        said += nursery.kill(pid)
        acknowledged = int(said[-1])
        file = adopt(path)
        found = set(event_ids(file)), set(letter_event_ids(file))

        assert found in (content(acknowledged), content(acknowledged + 1))
        assert totals(file) == counted(path)
        with file.transaction():
            file.purge(Match())
        file.close()
        assert list(directory.iterdir()) == []
