"""
Real processes that hold spool files, and end as processes do: at any moment.

One process imports the package and forks a child for each task, so that a test
can have many. Run as a module it is that process.
"""

from __future__ import annotations

import os
import resource
import shlex
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import Factory, define

from hh_exporter._spool import moving
from hh_exporter._spool.disk import Disk
from hh_exporter._spool.file import SpoolFile
from hh_exporter._spool.kept import Identity, SpooledRecord
from tests.builders import make_letter

__all__ = ["IDENTITY", "KEEP", "KEY", "Processes", "content", "processes", "records_of"]

KEY = "hh_canary_key_3f1c"
IDENTITY = Identity(base_url="https://api.example", dialect="legacy", api_key=KEY)
KEEP = 5
"""How many commits later `write` removes what it committed."""

_ROOT = Path(__file__).parents[1]


@define(eq=False)
class Processes:
    """
    What a test holds of them.
    """

    _parent: subprocess.Popen[str]
    _pids: set[int] = Factory(set)

    def start(self, task: str, *arguments: object) -> int:
        """
        Run a task in a new process; returns its id.
        """
        self._tell(task, *arguments)
        pid = int(self.read())
        self._pids.add(pid)
        return pid

    def open_gate(self) -> None:
        """
        Let all go on that wait for one another.
        """
        self._tell("open_gate")

    def read(self) -> str:
        """
        Read the next line that any of them says.
        """
        assert self._parent.stdout is not None
        line = self._parent.stdout.readline()
        assert line, "they are gone"
        return line.rstrip("\n")

    def kill(self, pid: int) -> list[str]:
        """
        End one as `kill -9` does; returns what it said before it was gone.
        """
        os.kill(pid, signal.SIGKILL)
        self._tell("reap", pid)
        self._pids.discard(pid)
        return list(iter(self.read, f"{pid} is gone"))

    def kill_all(self) -> None:
        for pid in list(self._pids):
            self.kill(pid)

    def _tell(self, *words: object) -> None:
        assert self._parent.stdin is not None
        self._parent.stdin.write(shlex.join(map(str, words)) + "\n")
        self._parent.stdin.flush()


@contextmanager
def processes() -> Iterator[Processes]:
    with subprocess.Popen(
        (sys.executable, "-m", "tests.spool_processes"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=_ROOT,
    ) as parent:
        some = Processes(parent)
        try:
            yield some
        finally:
            some.kill_all()
            parent.kill()


def records_of(number: int) -> list[SpooledRecord]:
    """
    Make the records of one commit of `write`.
    """
    return [
        SpooledRecord(event_id=f"{number}-{i}", data=b'"%s"' % (b"." * 2_000 * i), pushed_at=number)
        for i in range(3)
    ]


def content(number: int) -> tuple[set[str], set[str]]:
    """
    Say which records and which letters are there after so many commits of `write`.
    """
    kept = range(max(0, number - KEEP), number)
    return {f"{n}-{i}" for n in kept for i in range(3)}, {str(n) for n in range(number)}


# What the processes do.


def write(directory: str) -> None:
    """
    Commit again and again, and say so after each: records, a letter, old records removed.
    """
    file = SpoolFile.create(Path(directory), IDENTITY)
    say(file.path)
    added: list[range] = []
    while True:
        number = len(added)
        with file.transaction():
            added.append(file.add(records_of(number)))
            file.bury([make_letter(str(number))])
            if number >= KEEP:
                file.remove(added[number - KEEP])
        say(number + 1)


def hold(path: str) -> None:
    """
    Take over a file, wait for the others, and keep it.
    """
    wait(GATE)
    file = SpoolFile.adopt(Path(path), IDENTITY)
    say("none" if file is None else "got")
    wait(LIFE)


def hold_and_fork(directory: str) -> None:
    """
    Make a file, and a child that leaves it alone and lives on.
    """
    file = SpoolFile.create(Path(directory), IDENTITY)
    say(file.path)
    child = os.fork()
    if child == 0:
        file.abandon()
        say(f"child {os.getpid()}")
        wait(LIFE)
        return
    wait(GATE)
    with file.transaction():
        file.add(records_of(0))
    say("added")
    wait(LIFE)


def fill_disk(directory: str) -> None:
    """
    Commit until the disk is full, say what the file counts then, and once more with room.
    """
    file = SpoolFile.create(Path(directory), IDENTITY)
    say(file.path)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, resource.RLIM_INFINITY))
    number = 0
    try:
        while True:
            with file.transaction():
                file.add(records_of(number))
            number += 1
    except sqlite3.OperationalError as exc:
        say(f"{number} {file.count} {file.size} {exc}")
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    with file.transaction():
        ids = file.add(records_of(number))
    say(f"{ids.start} {file.count} {file.size}")
    wait(LIFE)


def take_over(directory: str, step: str, times: str) -> None:
    """
    Take over all files, a row at a time, and stay where *step* is done so many times.
    """
    do, left = getattr(SpoolFile, step), int(times)

    def do_or_stay(file: SpoolFile, *arguments: object) -> object:
        nonlocal left
        left -= 1
        if not left:
            say("there")
            wait(LIFE)
        return do(file, *arguments)

    setattr(SpoolFile, step, do_or_stay)
    setattr(moving, "_PART", 1)  # noqa: B010 - it is Final
    disk = Disk(directory=Path(directory), identity=IDENTITY, fsync=False)
    disk.open()
    while disk.has_more:
        disk.take_over()
    say("done")
    wait(LIFE)


def take_over_with_room_for(directory: str, size: str) -> None:
    """
    Take over more than the disk has room for, read it all, then have room and remove half.
    """
    disk = Disk(directory=Path(directory), identity=IDENTITY, fsync=False)
    found, _ = disk.open()
    setattr(moving, "_PART", 50_000)  # noqa: B010 - it is Final
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(size), resource.RLIM_INFINITY))
    while disk.has_more:
        more, _ = disk.take_over()
        found += more
    say(f"{found} found, {disk.count} there, {'stuck' if disk.takeover.is_stuck else 'done'}")
    with disk.transaction():
        spots = [spot for _, spot in disk.next(1000, 2**30)]
    say(f"{len(spots)} read")
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    with disk.transaction():
        for spot in spots[::2]:
            disk.remove(spot)
    disk.put_back(spots[1::2])
    disk.sweep()
    while disk.has_more:
        disk.take_over()
    say(f"{disk.count} there, {'stuck' if disk.takeover.is_stuck else 'done'}")
    disk.close()


def say(what: object) -> None:
    os.write(1, f"{what}\n".encode())  # in one piece, whoever else writes


def wait(pipe: tuple[int, int]) -> None:
    """
    Wait until the parent closes its end of *pipe*, or ends.
    """
    os.read(pipe[0], 1)


def main() -> None:
    some = (write, hold, hold_and_fork, fill_disk, take_over, take_over_with_room_for)
    tasks = {task.__name__: task for task in some}
    for line in sys.stdin:
        name, *arguments = shlex.split(line)
        if name == "open_gate":
            os.close(GATE[1])
        elif name == "reap":
            os.waitpid(int(arguments[0]), 0)
            say(f"{arguments[0]} is gone")
        else:
            if os.fork() == 0:
                os.close(GATE[1])
                os.close(LIFE[1])
                say(os.getpid())
                try:
                    tasks[name](*arguments)
                finally:
                    os._exit(0)


if __name__ == "__main__":
    GATE = os.pipe()
    LIFE = os.pipe()
    main()
