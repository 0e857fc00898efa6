"""
How a record enters a queue that is full: it waits in line.

However the wait ends, the record's place in the line is given up, and so is its copy on disk
if it was not admitted.
"""

from __future__ import annotations

from hh_exporter._bell import LOOK, Bell
from hh_exporter._life.lifetime import Lifetime
from hh_exporter._outcomes import DropReason
from hh_exporter._records import Record

__all__ = ["enter"]


async def enter(life: Lifetime, record: Record) -> bool:
    """
    Queue *record* once there is room, and with a durable spool once it is on disk.

    Returns:
        Whether it was accepted; if not, that is counted and announced.

    Raises:
        ExporterError: The exporter is closed; nothing is counted.
    """
    bell, queue, spooler = Bell(life.clock), life.queue, life.spooler
    place = queue.line_up(record, bell.ring)
    try:
        life.keeper.see_to_worker()
        while not (place.has_room or place.is_refused):
            await bell.wait(life.clock.now() + LOOK)
            life.keeper.see_to_worker()  # the loop that makes room may have gone
        is_kept = spooler is None or await spooler.ensure(record)
        if is_kept:
            queue.enter(place, record)
        else:
            queue.check_open(place)
            queue.leave(place)
    except BaseException:
        queue.leave(place)
        raise
    finally:
        if spooler is not None:
            spooler.end_ensure(record)
    if not is_kept:
        life.settler.refuse(record.event_id, DropReason.SPOOL_FULL)
    return is_kept
