"""
Flush and close an exporter, and then the copies of its events.

Copies get the time that is left, but no more than their own `close_timeout`, and none once they
failed.
"""

from __future__ import annotations

from math import inf

from hh_exporter._life import closing
from hh_exporter._life.lifetime import Lifetime
from hh_exporter._outcomes import FlushResult

__all__ = ["close", "flush"]


async def flush(life: Lifetime, deadline: float | None) -> FlushResult:
    """
    Wait until all records have an outcome, or no more can be delivered by *deadline*. Any loop.
    """
    result = FlushResult(0, 0, 0, 0)
    await life.feeds.give_in_slices(inf if deadline is None else deadline)
    if life.queue.has_open_records:
        result = await life.flush(deadline)
    copy = life.copy
    if copy is not None and copy.queue.has_open_records and not copy.failure:
        await copy.flush(_limit(copy, inf if deadline is None else deadline))
    return result


async def close(life: Lifetime, deadline: float) -> FlushResult:
    """
    Accept no more, send what is there until *deadline*, and give up the rest. Any loop.

    If it is cancelled, no more copies are sent.
    """
    await life.feeds.give_in_slices(deadline)
    copy = life.copy
    if copy is None:
        return await closing.close(life, deadline)
    try:
        result = await closing.close(life, deadline)
    except BaseException:
        await closing.close(copy, -inf)
        raise
    await closing.close(copy, -inf if copy.failure else _limit(copy, deadline))
    return result


def _limit(copy: Lifetime, deadline: float) -> float:
    return min(deadline, copy.clock.now() + copy.settings.close_timeout)
