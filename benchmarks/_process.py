"""
Processes that measure themselves: what one of them takes is nobody else's.

One rule: a process that grew seldom shrinks, so each measurement of memory has
one of its own.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import ParamSpec, TypeVar

__all__ = ["read_resident", "run_in_fresh_process", "trim"]

P = ParamSpec("P")
T = TypeVar("T")

_STATM = Path("/proc/self/statm")
_RESIDENT = 1
"""Which figure of it counts the resident pages."""


def run_in_fresh_process(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """
    Do *work* where nothing was done before, and raise what it raises.
    """
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(work, *args, **kwargs).result()


def read_resident() -> int:
    """
    Say how many bytes of memory this process has now.
    """
    return int(_STATM.read_text().split()[_RESIDENT]) * os.sysconf("SC_PAGE_SIZE")


def trim() -> None:
    """
    Give free memory back, so that what is taken next shows, where libc is glibc.
    """
    with suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
