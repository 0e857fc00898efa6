"""
Read the books: counters and health of an exporter.

All numbers are of one instant, so they balance.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from hh_exporter._clock import Clock
from hh_exporter._delivery.worker import Worker
from hh_exporter._log import counted
from hh_exporter._outcomes import DropReason, Stats
from hh_exporter._queue.queue import RecordQueue

if TYPE_CHECKING:  # SQLite and the spool are loaded where one is wanted
    from hh_exporter._spool.spooler import Spooler

__all__ = ["read_books", "read_health"]


def read_books(
    queue: RecordQueue,
    worker: Worker | None,
    spooler: Spooler | None,
    clock: Clock,
    health: tuple[str, str],
) -> Stats:
    """
    Read the books of one exporter; they balance. Any thread.
    """
    with queue.lock:
        while True:
            pushed = queue.ledger.pushed
            stats = _read(queue, worker, spooler, clock, health)
            if pushed == queue.ledger.pushed:  # else a handler or a finaliser pushed meanwhile
                return stats


def _read(
    queue: RecordQueue,
    worker: Worker | None,
    spooler: Spooler | None,
    clock: Clock,
    health: tuple[str, str],
) -> Stats:
    ledger = queue.ledger
    requests, oldest = ledger.requests, queue.oldest_pushed_at
    return Stats(
        pushed=ledger.pushed,
        recovered=ledger.recovered,
        delivered=ledger.delivered,
        relayed=ledger.relayed,
        rejected=ledger.rejected,
        dropped=sum(ledger.dropped.values()),
        dropped_by_reason={reason: n for reason, n in tuple(ledger.dropped.items()) if n},
        queued=ledger.queued,
        in_flight=ledger.in_flight,
        spooled=ledger.spooled,
        spooled_bytes=0 if spooler is None else spooler.writer.size,
        dead_letters=0 if spooler is None else spooler.writer.letters,
        stranded=0 if spooler is None else spooler.writer.disk.others.stranded,
        commit_lag=0.0 if spooler is None else spooler.commit_lag,
        queued_bytes=ledger.queued_bytes,
        queued_packed=ledger.packed,
        in_flight_bytes=ledger.in_flight_bytes,
        capacity=queue.limits.max_events,
        capacity_bytes=queue.limits.max_bytes,
        requests=requests.begun,
        retries=requests.retries,
        duplicates=requests.duplicates,
        requests_by_status=dict(requests.statuses),
        request_seconds=requests.seconds,
        request_durations=requests.durations(),
        in_flight_limit=0 if worker is None else worker.slots.limiter.limit,
        in_flight_reason="" if worker is None else worker.slots.limiter.reason,
        body_bytes=queue.body_bytes,
        breaker="closed" if worker is None else worker.breaker.state,
        oldest_age=0.0 if oldest == inf else max(0.0, clock.now() - oldest),
        health=health[0],
        health_reason=health[1],
    )


def read_health(
    queue: RecordQueue, worker: Worker | None, spooler: Spooler | None, clock: Clock, disabled: str
) -> tuple[str, str]:
    """
    Say the health of an exporter in one word, and why; *disabled* is why it sends nothing.
    """
    if disabled:
        return "closed", disabled
    if queue.closed:
        return "closed", "aclose() was called"
    if worker is None or not worker.is_serving or not worker.loop.is_running():
        if worker is not None and worker.fault:
            return "degraded", f"the worker failed with {worker.fault} and starts again"
        return "starting", "no event loop runs it"
    if worker.breaker.is_suspended:
        return "suspended", worker.breaker.reason
    if worker.breaker.is_blocked:
        return "retrying", f"the server fails: {worker.breaker.reason}"
    if worker.shipper.backing_off or worker.breaker.hold_until > clock.now():
        return "retrying", "the server can't be reached or asks for time"
    if worker.breaker.trouble and queue.has_open_records:
        return "retrying", f"the server created nothing the last time: {worker.breaker.trouble}"
    if spooler is not None and (fault := spooler.writer.fault):
        return "degraded", f"the spool can't be written to: {fault}"
    if spooler is not None and (damage := _tell_damage(queue, spooler)):
        return "degraded", f"damaged, and set aside in the spool: {damage}"
    return "ok", ""


def _tell_damage(queue: RecordQueue, spooler: Spooler) -> str:
    events = queue.ledger.dropped.get(DropReason.DAMAGED, 0)
    found = {"file": spooler.writer.disk.takeover.aside, "event": events}
    return " and ".join(counted(number, noun) for noun, number in found.items() if number)
