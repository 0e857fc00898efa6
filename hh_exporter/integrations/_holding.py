"""
Keep an exporter open for as long as any app holds it.

Starting and closing it here never raises: telemetry must neither keep an app from starting nor
hide an exception of the app.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from weakref import WeakKeyDictionary

from hh_exporter import Exporter
from hh_exporter._log import get_log

__all__ = ["holding", "start"]

log = get_log(__name__)

_holders: WeakKeyDictionary[Exporter, set[object]] = WeakKeyDictionary()
os.register_at_fork(after_in_child=_holders.clear)  # its parent's apps are not its own


@asynccontextmanager
async def holding(exporter: Exporter) -> AsyncIterator[None]:
    """
    Start *exporter*, and close it after the block, unless another block holds it still.
    """
    holders = _holders.setdefault(exporter, set())
    me = object()
    holders.add(me)
    try:
        await start(exporter)
        yield
    finally:
        holders.discard(me)
        if not holders:
            await _close(exporter)


async def start(exporter: Exporter) -> None:
    """
    Start *exporter*, if it does not run.
    """
    await _attempt(exporter.start(), "started")


async def _close(exporter: Exporter) -> None:
    """
    Flush *exporter* while it still accepts what the app's last tasks push, then close it.

    Both together take no longer than its `close_timeout`.
    """
    now, seconds = exporter._clock.now, exporter._settings.close_timeout
    begun = now()
    try:
        await _attempt(exporter.flush(seconds / 2), "closed")
    finally:
        # A loop that was blocked meanwhile used up no more than was planned.
        left = max(seconds / 2, seconds - (now() - begun))
        await _attempt(exporter.aclose(left), "closed")


async def _attempt(step: Awaitable[object], done: str) -> None:
    try:
        await step
    except Exception as exc:
        # Not its text, which may quote a payload or the key.
        log.error("hh_exporter: the exporter could not be %s: %s", done, type(exc).__name__)  # noqa: TRY400
