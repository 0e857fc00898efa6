"""
The stories of test_ledger, told of exporters with a spool whose disk can be full.

The spool's thread gets its turn wherever the network does, so that what a story
finds on disk is no matter of timing.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Awaitable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from attrs import Factory, define
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test

from hh_exporter import Outcome, Spool
from hh_exporter._spool import packer
from hh_exporter._spool.disk import Disk
from hh_exporter._spool.file import SpoolFile
from hh_exporter._spool.kept import SpooledRecord
from hh_exporter._spool.work import Owner
from tests.support import PATIENCE
from tests.test_ledger import LONG, ORDINARY, Books

FEW = settings(ORDINARY, max_examples=8)


@define(eq=False)
class Mark:
    """
    Work that changes nothing, and says when all before it is done.
    """

    size: int = 0
    is_reached: threading.Event = Factory(threading.Event)

    def do(self, disk: Disk) -> None: ...

    def end(self, owner: Owner, *, is_done: bool) -> None:
        self.is_reached.set()


class SpooledBooks(Books):
    """
    A program whose exporter has a spool.
    """

    is_durable = False

    def __init__(self) -> None:
        super().__init__()
        self.directory = TemporaryDirectory()
        self.spool = Spool(
            Path(self.directory.name) / "spool", durable=self.is_durable, max_bytes=20_000
        )
        self.disk_is_full = threading.Event()
        add = SpoolFile.add

        def add_if_there_is_room(file: SpoolFile, records: Sequence[SpooledRecord]) -> range:
            if self.disk_is_full.is_set():
                raise sqlite3.OperationalError("database or disk is full")
            return add(file, records)

        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(packer, "_BACKLOG", 2_000)
        self.patch.setattr(SpoolFile, "add", add_if_there_is_room)

    @rule(is_full=st.booleans())
    def fill_the_disk(self, is_full: bool) -> None:
        if is_full:
            self.is_disk_full = True  # health says so until the next commit that succeeds
            self.disk_is_full.set()
        else:
            self.disk_is_full.clear()

    def teardown(self) -> None:
        self.disk_is_full.clear()
        try:
            super().teardown()
        finally:
            spooler = self.exporter._life.spooler if hasattr(self, "exporter") else None
            if spooler is not None:  # after a failure its thread would run on, and be waited for
                spooler.retire(lambda: None)
                spooler.join()
            self.patch.undo()
            self.directory.cleanup()

    def weigh_what_is_in_memory(self) -> None:
        super().weigh_what_is_in_memory()
        spooler = self.exporter._life.spooler
        assert spooler is not None
        self.let_the_disk_finish()
        stats = self.exporter.stats()
        assert stats.spooled >= 0, stats
        assert stats.recovered == 0, stats
        writer = spooler.writer
        if writer.shift is not None:
            files = writer.disk._files
            assert stats.spooled == sum(held.unloaded for held in files), stats

    def what_can_be_seen(self) -> object:
        self.let_the_disk_finish()
        return super().what_can_be_seen()

    async def run_and_calm_down(self, work: Awaitable[object]) -> None:
        await super().run_and_calm_down(work)
        self.let_the_disk_finish()

    async def calm_down(self) -> None:
        await super().calm_down()
        await super().calm_down()  # what the thread did last was perhaps not seen yet

    def let_the_disk_finish(self) -> None:
        """
        Wait for the spool's thread, without a turn of the loop.
        """
        spooler = self.exporter._life.spooler if hasattr(self, "exporter") else None
        if spooler is None:
            return
        writer, mark = spooler.writer, Mark()
        with self.exporter._queue.lock:
            going_on = writer.thread if writer.hand_over(mark) else None
        writer.hurry()
        if going_on is not None:
            assert mark.is_reached.wait(PATIENCE), "the spool's thread hangs"
        for thread in threading.enumerate():  # one may have ended, and not said so yet
            if thread.name == "hh_exporter spool" and thread is not going_on:
                thread.join(PATIENCE)


class DurableBooks(SpooledBooks):
    """
    One whose spool is durable.
    """

    is_durable = True


class PackedSpooledBooks(SpooledBooks):
    """
    One whose exporter has packed all that waits.
    """

    is_packed = True


class PackedDurableBooks(DurableBooks):
    """
    The same with a durable spool.
    """

    is_packed = True


class RelayedBooks(DurableBooks):
    """
    The same where what the server has is for a relay to deliver.
    """

    arrival = Outcome.RELAYED


MACHINES = [SpooledBooks, DurableBooks, PackedSpooledBooks, PackedDurableBooks, RelayedBooks]


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "hh_exporter")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("machine", MACHINES)
def test_the_books_balance_with_a_spool(machine: type[SpooledBooks]) -> None:
    """
    Whatever is on disk, and whenever the disk fails, every event has exactly one outcome.
    """
    run_state_machine_as_test(machine, settings=FEW)


@pytest.mark.soak
@pytest.mark.timeout(0)
@pytest.mark.parametrize("machine", MACHINES)
def test_the_books_balance_with_a_spool_for_long(machine: type[SpooledBooks]) -> None:
    """
    The same holds in longer stories, and in many more of them.
    """
    run_state_machine_as_test(machine, settings=LONG)
