"""
Kill processes and remove a folder once the program that began them has ended.

A program of its own, of nothing but the standard library: it reads its standard input, which the
system closes however the other program ends. Each line has the process ids that it should kill
then, instead of those before: an id that was given up may be another process's by now.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from contextlib import suppress


def main(folder: str) -> None:
    pids: list[str] = []
    for line in sys.stdin:
        pids = line.split()
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    for _ in range(10):  # while it is removed, a process that dies may still write
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1])
