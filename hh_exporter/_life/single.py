"""
Deliver one event by itself, past the queue, in the loop of the worker.
"""

from __future__ import annotations

from contextlib import suppress

from hh_exporter._clock import Deadline, within
from hh_exporter._life.lifetime import Lifetime
from hh_exporter._life.loops import run_in
from hh_exporter._outcomes import DropReason
from hh_exporter._records import Record
from hh_exporter.exceptions import DeliveryError

__all__ = ["deliver_one"]


async def deliver_one(life: Lifetime, record: Record, deadline: float) -> str:
    """
    Have the worker send one record by itself; see `Deliverer.deliver_one`.
    """
    worker = life.keeper.need_worker()

    async def send() -> str:
        limit = Deadline(deadline, life.clock.now())
        with suppress(TimeoutError):
            async with within(life.clock, limit):
                await worker.wait_started()
        try:
            return await worker.deliverer.deliver_one(record, limit)
        finally:
            worker.ring()

    server_id = await run_in(worker.loop, send(), life.clock, deadline)
    if server_id is None:
        if not worker.loop.is_running():
            worker.deliverer.give_up_singles()
        raise DeliveryError(
            "the event could not be delivered: the exporter's event loop does not answer",
            reason=DropReason.SEND_FAILED,
        )
    return server_id
