"""
A load on a program, which is stopped in the middle: what it pushed, and what the server has.

The model that the program asks notes each call in a pipe. `exporter.record` pushes an event for
each call that was noted as over, with no await between, so the notes say what was pushed,
whatever became of the process.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

from attrs import define, field

from tests.scripted_server import ScriptedServer
from tests.sites import Site, serving
from tests.support import PATIENCE

__all__ = ["MODEL", "Load", "Notes", "asked", "loaded", "noting"]

MODEL = """
import asyncio, os

_notes = os.open(os.environ["NOTES"], os.O_WRONLY)
_slow = float(os.environ.get("SLOW", "0.5"))

def _note(word, question):
    # In one piece, whoever else writes.
    os.write(_notes, f"{word} {os.getpid()} {question}\\n".encode())

async def ask_model(messages):
    question = messages[0]["content"]
    _note("begun", question)
    try:
        await asyncio.sleep(_slow if int(question.split()[-1]) % 5 == 0 else 0.001)
    except asyncio.CancelledError:
        try:
            await asyncio.sleep(0.05)  # as clients do that close a connection
        finally:
            _note("cut", question)
        raise
    except BaseException:
        _note("cut", question)
        raise
    _note("ended", question)
    return {"role": "assistant", "content": "an answer"}
"""
"""
The module `my_model` that notes what it was asked. A question ends in a number, and each fifth
takes half a second, or `SLOW` seconds: there is always one that is being answered. One that is
cancelled takes its time, too.
"""


@define(eq=False)
class Notes:
    """
    What the model of a program notes, in a named pipe that any number of its processes find.

    Attributes:
        environ: What the environment of the program needs.
    """

    environ: dict[str, str]
    _pipe: int
    _text: bytes = field(init=False, default=b"")
    _news: asyncio.Event = field(init=False, factory=asyncio.Event)

    def read(self, *words: str) -> list[tuple[int, str]]:
        """
        List process and question of each note with one of *words*: begun, ended or cut.
        """
        notes = [line.split(" ", 2) for line in self._text.decode().splitlines()]
        return [(int(pid), question) for word, pid, question in notes if word in words]

    def questions(self, *words: str) -> Counter[str]:
        return Counter(question for _, question in self.read(*words))

    def pushed(self) -> Counter[str]:
        """
        Count the events that the program pushed, by question.
        """
        return self.questions("ended", "cut")

    def cut_off(self) -> Counter[str]:
        """
        Count the calls that did not come to their end: cancelled, or killed with their process.
        """
        return self.questions("begun") - self.questions("ended")

    async def busy(self, workers: int = 1, calls: int = 20) -> None:
        """
        Wait until so many processes have answered, so many *calls* in all, and one is under way.
        """
        async with asyncio.timeout(PATIENCE):
            while not self._is_busy(workers, calls):
                self._news.clear()
                await self._news.wait()

    def _is_busy(self, workers: int, calls: int) -> bool:
        ended = self.read("ended")
        is_enough = len(ended) >= calls and len({pid for pid, _ in ended}) >= workers
        return is_enough and bool(self.questions("begun") - self.pushed())

    def _hear(self) -> None:
        with suppress(BlockingIOError):
            while text := os.read(self._pipe, 2**16):
                self._text += text
        self._news.set()


@contextmanager
def noting(directory: Path) -> Iterator[Notes]:
    """
    Make the pipe in *directory*, and read it within the block, in the running loop.
    """
    os.mkfifo(path := directory / "notes")
    # Also for writing: it has no end then, whatever processes come and go.
    pipe = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    notes = Notes({"NOTES": str(path)}, pipe)
    loop = asyncio.get_running_loop()
    loop.add_reader(pipe, notes._hear)
    try:
        yield notes
    finally:
        loop.remove_reader(pipe)
        notes._hear()
        os.close(pipe)


def asked(server: ScriptedServer) -> Counter[str]:
    """
    Count the events that *server* stored, by question; those without one are left out.
    """
    return Counter(event["messages"][0]["content"] for event in server.created if event["messages"])


@define(eq=False)
class Load:
    """
    A web app that a crowd asks, and the notes of its model.
    """

    site: Site
    notes: Notes
    server: ScriptedServer

    async def stop(
        self, workers: int = 1, calls: int = 20, number: signal.Signals = signal.SIGTERM
    ) -> None:
        """
        Send a signal in the middle of the load, which is there as `Notes.busy` says.
        """
        await self.notes.busy(workers, calls)
        self.site.is_stopping = True
        self.site.program.send(number)

    def lost(self) -> Counter[str]:
        """
        Count the events that were pushed and did not arrive.
        """
        return self.notes.pushed() - asked(self.server)


@asynccontextmanager
async def loaded(
    server: ScriptedServer,
    directory: Path,
    source: str,
    command: Callable[[int], list[str]],
    *,
    model: str = MODEL,
    python: str | Path = sys.executable,
    ready: str | None = None,
    **environ: str,
) -> AsyncIterator[Load]:
    """
    Run a web app as `sites.serving` does, with a model that takes notes.
    """
    with noting(directory) as notes:
        environ |= notes.environ
        async with serving(
            server,
            directory,
            source,
            command,
            model=model,
            python=python,
            ready=ready,
            **environ,
        ) as site:
            yield Load(site, notes, server)
