"""
The command line, as a real process and within this one.
"""

from __future__ import annotations

import asyncio
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import IO

import pytest
from attrs import frozen

from hh_exporter._cli import cli
from tests.surroundings import NOBODY_TRUSTED

__all__ = ["Finished", "call", "finish", "run", "started"]

_ROOT = Path(__file__).parents[1]
_PATIENCE = 60.0
"""Seconds after which a process that does not end fails its test."""


@frozen
class Finished:
    """
    How a command ended, and what it said.
    """

    status: int
    stdout: str
    stderr: str


@contextmanager
def started(
    *arguments: str,
    stdin: int = subprocess.PIPE,
    stderr: int | IO[bytes] = subprocess.PIPE,
    **environ: str,
) -> Iterator[subprocess.Popen[bytes]]:
    """
    Start `hh-exporter` with *arguments*, and see that it does not outlive the block.
    """
    with subprocess.Popen(
        (sys.executable, "-m", "hh_exporter", *arguments),
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=stderr,
        cwd=_ROOT,
        env=os.environ | NOBODY_TRUSTED | environ,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


async def finish(process: subprocess.Popen[bytes], stdin: bytes | None = None) -> Finished:
    """
    Give *process* its input, if any, and wait for its end.
    """
    stdout, stderr = await asyncio.to_thread(process.communicate, stdin, timeout=_PATIENCE)
    return Finished(process.returncode, (stdout or b"").decode(), (stderr or b"").decode())


async def run(*arguments: str, stdin: bytes = b"", **environ: str) -> Finished:
    """
    Run `hh-exporter` with *arguments* to its end.
    """
    with started(*arguments, stdin=subprocess.PIPE, stderr=subprocess.PIPE, **environ) as process:
        return await finish(process, stdin)


def call(*arguments: str) -> Finished:
    """
    Run `hh-exporter` with *arguments* in this process, for what needs no other.
    """
    with (
        redirect_stdout(io.StringIO()) as stdout,
        redirect_stderr(io.StringIO()) as stderr,
        pytest.raises(SystemExit) as end,
    ):
        cli(arguments, prog_name="hh-exporter")
    return Finished(int(end.value.code or 0), stdout.getvalue(), stderr.getvalue())
