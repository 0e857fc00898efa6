"""
Programs of users, each run as a process of its own.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent

from attrs import define

from tests.command import Finished, finish
from tests.surroundings import NOBODY_TRUSTED

__all__ = ["Program", "run_program", "running", "started"]

_ROOT = Path(__file__).parents[1]

_PRELUDE = """
import asyncio, os, signal, sys, threading
from hh_exporter import BatchLimits, Exporter, ModelEvent

def push(*event_ids):
    for event_id in event_ids:
        assert exporter.push(ModelEvent(model="m", event_id=event_id))

def say(*words):
    print(*words, flush=True)

exporter = Exporter()
"""
"""What each program begins with."""


@define(eq=False)
class Program:
    """
    A program that runs.
    """

    process: subprocess.Popen[bytes]

    async def line(self) -> str:
        """
        Wait for the next line that the program prints.
        """
        assert self.process.stdout
        line = await asyncio.to_thread(self.process.stdout.readline)
        assert line, await self.ended()
        return line.decode().rstrip("\n")

    async def said(self, line: str) -> None:
        """
        Wait until the program prints *line*, as its next.
        """
        assert await self.line() == line

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def ended(self) -> Finished:
        return await finish(self.process)


@contextmanager
def running(source: str, url: str, **environ: str) -> Iterator[Program]:
    """
    Run *source* with an `exporter` for the server at *url*, no longer than the block.
    """
    with started("-c", _PRELUDE + dedent(source), environ={"HH_API_URL": url} | environ) as program:
        yield program


@contextmanager
def started(
    *arguments: str,
    environ: Mapping[str, str],
    passes: Sequence[int] = (),
    python: str | Path = sys.executable,
) -> Iterator[Program]:
    """
    Run Python with *arguments*, no longer than the block.

    Args:
        passes: File descriptors that it shall have, too.
        python: Which Python; that of another environment has other libraries.
    """
    with subprocess.Popen(
        # Since 3.12 a fork beside threads is worth a warning; some of the programs do just that.
        (python, "-W", "ignore::DeprecationWarning", *arguments),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **NOBODY_TRUSTED, "PYTHONPATH": str(_ROOT), **environ},
        pass_fds=passes,
        start_new_session=True,  # so that its children can be found
    ) as process:
        try:
            yield Program(process)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


async def run_program(source: str, url: str, **environ: str) -> Finished:
    """
    Run *source* to its end.
    """
    with running(source, url, **environ) as program:
        return await program.ended()
