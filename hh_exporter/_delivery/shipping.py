"""
One body until its verdict is final: attempts, backoff, holds.

The only place where a body is sent again as it is. tenacity runs the attempts;
delays, jitter and limits are ours, on our clock. Every answer is reported to the
breaker here, so that what one request shows about the server counts for all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from math import inf
from typing import Literal

from attrs import Factory, define, evolve
from tenacity import AsyncRetrying, RetryCallState, retry_if_result

from hh_exporter._clock import Clock, Deadline, turn
from hh_exporter._delivery.breaker import Breaker
from hh_exporter._delivery.limiter import Limiter
from hh_exporter._delivery.retry import last_verdict, next_delay, parse_retry_after
from hh_exporter._delivery.shipment import Shipment
from hh_exporter._dialects.dialect import Answer
from hh_exporter._dialects.vendor import other_host
from hh_exporter._log import get_log
from hh_exporter._outcomes import Rest, Verdict
from hh_exporter._queue.queue import RecordQueue
from hh_exporter._settings.retry import RetryPolicy
from hh_exporter._transport.transport import Transport

__all__ = ["Shipper"]

log = get_log(__name__)

_HELD = Verdict(rest=Rest.SUSPENDED, status=None, reason="held")
"""For a body that was not sent, since all sending is blocked."""

_SUSPECTS = {
    Rest.INVALID: "check dialect (HH_EXPORTER_DIALECT)",
    Rest.TOO_LARGE: "check the size limit at base_url (HH_API_URL)",
}
"""What to do where the server refuses every event; by other answers it fails."""

_LARGE = 2**18
"""Bytes of a body that takes a while to be made."""

_LAST_MOMENT = 0.005
"""Seconds before its deadline at which an attempt ends: what arrived by then counts."""


@define(eq=False, kw_only=True)
class Shipper:
    """
    All that shipments to one server share.
    """

    queue: RecordQueue
    transport: Transport
    breaker: Breaker
    limiter: Limiter
    policy: RetryPolicy
    clock: Clock
    random: Callable[[], float]
    on_ambiguous: Literal["reject", "resend"]
    compresses: bool
    """Whether bodies are compressed; turned off once the server is found to refuse gzip."""
    is_gzip_taken: bool = False
    """Whether the server has accepted gzip."""
    on_answer: Callable[[], None]
    """Called after each answer, which may have made a wait pointless."""
    on_wire: int = 0
    """Attempts that are under way."""
    backing_off: int = 0
    """Shipments in backoff, or held by the server."""
    is_retired: bool = True
    """Whether the transport is closed or about to close: nothing is sent."""
    is_silent: bool = False
    """Whether to log no more than attempts, at the level debug."""
    _hurry: asyncio.Event = Factory(asyncio.Event)

    async def ship(self, shipment: Shipment) -> Verdict:
        """
        Attempt *shipment* until its verdict is final or time is up.

        Returns:
            The last verdict. If it is one that could be retried, time is up, all
            sending is blocked meanwhile, or the body is to blame.
        """
        retrying = AsyncRetrying(
            retry=retry_if_result(partial(self._is_worth_retrying, shipment)),
            wait=partial(self._next_delay, shipment),
            stop=partial(self._is_out_of_time, shipment),
            sleep=partial(self._back_off, shipment),
            retry_error_callback=last_verdict,
        )
        try:
            verdict: Verdict = await retrying(self._attempt, shipment)
        finally:
            retrying.iter_state.reset()  # its actions refer to it: a reference cycle a batch
        return verdict

    async def pause(self, shipment: Shipment) -> None:
        """
        Back off once, before what *shipment* left open is sent differently.
        """
        state = RetryCallState(AsyncRetrying(), None, (), {})
        state.set_result(shipment.verdict)
        await self._back_off(shipment, next_delay(self.policy, state, self.random))

    def hurry(self) -> None:
        """
        End all backoffs now.
        """
        self._hurry.set()
        self._hurry = asyncio.Event()

    def may_end(self, verdict: Verdict, count: int, *, is_known: bool) -> bool:
        """
        Say whether *verdict* may end *count* events that were not created, and count them.

        Args:
            verdict: What the server said of them.
            count: How many it would end.
            is_known: Whether others were created since the server first refused them.
        """
        breaker, suspect = self.breaker, verdict.hint or _SUSPECTS.get(verdict.rest)
        was_blocked = breaker.is_blocked
        reason = f"{verdict.reason} for every event" + (f": {suspect}" if suspect else "")
        may = breaker.may_end(
            self.clock.now(), count, reason, is_known=is_known, suspends=suspect is not None
        )
        if breaker.is_blocked and not was_blocked:
            self._say_blocked()
        return may

    async def _attempt(self, shipment: Shipment) -> Verdict:
        if not self.compresses or shipment.is_plain:
            shipment.compressed = None
        elif shipment.compressed is None:
            shipment.compressed = await self.transport.compress(shipment.body)
        if len(shipment.body) >= _LARGE:
            await turn()
        await self._sit_out_hold(shipment)
        if self.breaker.is_blocked and not shipment.is_probe:
            return _HELD
        if self.is_retired:
            return shipment.verdict
        shipment.attempts += 1
        verdict = await self._post(shipment, retry=shipment.attempts > 1)
        if shipment.compressed is not None:
            verdict = await self._doubt_gzip(shipment, verdict)
        if verdict.rest is Rest.AMBIGUOUS and self.on_ambiguous == "resend":
            verdict = evolve(verdict, rest=Rest.RETRY)
        shipment.verdict = verdict
        log.debug(
            "attempt %d: %s, %d events created",
            shipment.attempts,
            verdict.reason,
            len(verdict.created),
            extra={"hh_attempt": shipment.attempts, "hh_events": len(verdict.created)},
        )
        self._note(shipment, verdict)
        if verdict.rest in (Rest.RETRY, Rest.FAILED):
            self.breaker.hold(self.clock.now() + shipment.retry_after)
            if verdict.created and verdict.rest is Rest.RETRY:
                shipment.body = shipment.wrap()
                shipment.compressed = None
        self.on_answer()
        return verdict

    async def _post(self, shipment: Shipment, *, retry: bool) -> Verdict:
        with self.queue.lock:
            self.queue.ledger.requests.begin(retry=retry)
        self.on_wire += 1
        began = self.clock.now()
        change = self.limiter.begin(is_probe=self.breaker.is_blocked)
        latest = shipment.deadline.at - _LAST_MOMENT
        limit = Deadline.after(self.clock, self.transport.timeout, latest)
        try:
            is_plain = shipment.compressed is None
            answer = await self.transport.send(
                shipment.method,
                shipment.path,
                shipment.compressed or shipment.body,
                encoding="" if is_plain else "gzip",
                deadline=limit,
            )
        finally:
            self.on_wire -= 1
            now = self.clock.now()
            limit.look(now)
            took = now - began - limit.held
            shipment.tried_for += took
        size = len(shipment.body) if shipment.is_full else 0
        is_known = shipment.accepted_before is not None
        self.limiter.note(change, answer.status, took, size, is_known=is_known)
        with self.queue.lock:
            requests = self.queue.ledger.requests
            requests.end(answer.status, now - began)
            requests.note_duplicates(answer.duplicates)
        shipment.retry_after = self._silence(answer)
        return shipment.read(answer)

    async def _doubt_gzip(self, shipment: Shipment, verdict: Verdict) -> Verdict:
        """
        Send what was refused once more uncompressed, if the gzip may be the reason.
        """
        self.is_gzip_taken |= bool(verdict.created)
        # How servers refuse a Content-Encoding (RFC 9110 §15.5.16), some without knowing it.
        is_doubtful = verdict.rest in (Rest.SUSPENDED, Rest.INVALID) and (
            verdict.status == HTTPStatus.UNSUPPORTED_MEDIA_TYPE
            or (
                verdict.status == HTTPStatus.BAD_REQUEST
                # It may have been taken by the server that was there before.
                and not (self.is_gzip_taken and shipment.is_divisible)
            )
        )
        if not is_doubtful or self.is_retired:
            return verdict
        shipment.is_plain, shipment.compressed = True, None
        verdict = await self._post(shipment, retry=True)
        if verdict.created and self.compresses:
            self.compresses = False
            log.warning(
                "hh_exporter: %s takes no gzip: bodies are sent uncompressed",
                self.transport.address,
            )
        return verdict

    async def _sit_out_hold(self, shipment: Shipment) -> None:
        while (wait := self.breaker.hold_until - self.clock.now()) > 0 and not self.is_retired:
            await self._wait(shipment, wait)

    def _note(self, shipment: Shipment, verdict: Verdict) -> None:
        """
        Report the verdict to the breaker; log the begin and the end of an outage.
        """
        breaker, now = self.breaker, self.clock.now()
        if verdict.rest is Rest.SUSPENDED:
            if breaker.note_suspension(now, f"{verdict.reason}: {verdict.hint}"):
                self._say_blocked()
        elif verdict.rest is Rest.RETRY and not verdict.created:
            if verdict.status is None or verdict.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                shipment.note_failure(breaker.accepted)
            if breaker.note_failure(now, verdict.reason):
                self._say_blocked(is_reached=verdict.status is not None)
        elif (
            breaker.note_answer(
                created=bool(verdict.created),
                reason="" if verdict.rest is Rest.NOTHING else verdict.reason,
            )
            and not self.is_silent
        ):
            log.warning("hh_exporter: resumed: %s takes events again", self.transport.address)

    def _say_blocked(self, *, is_reached: bool = True) -> None:
        self.hurry()  # those who back off go back to the queue
        if self.is_silent:
            return
        reason, base_url, kept = self.breaker.reason, self.transport.address, self.queue.kept
        if self.breaker.is_suspended:
            other = other_host(base_url)
            log.error(
                "hh_exporter: suspended: %s answers %s; events kept: %d, retrying",
                base_url,
                reason + (f", or set base_url to {other}" if other else ""),
                kept,
            )
        elif is_reached:
            log.warning(
                "hh_exporter: %s fails: %s; events kept: %d, retrying", base_url, reason, kept
            )
        else:
            log.warning(
                "hh_exporter: %s can't be reached: %s; events kept: %d, retrying",
                base_url,
                reason,
                kept,
            )

    def _silence(self, answer: Answer) -> float:
        asked = parse_retry_after(answer.retry_after, self.clock.wall())
        return min(asked or 0.0, self.policy.retry_after_cap)

    # What tenacity asks.

    def _is_worth_retrying(self, shipment: Shipment, verdict: Verdict) -> bool:
        if verdict.rest is not Rest.RETRY or self.is_retired:
            return False
        if shipment.is_urgent:
            return not self.breaker.is_suspended
        return not (self.breaker.is_blocked or shipment.is_blamed)

    def _next_delay(self, shipment: Shipment, state: RetryCallState) -> float:
        own = next_delay(self.policy, state, self.random)
        shipment.delay = own
        if shipment.retry_after or shipment.verdict.status == HTTPStatus.TOO_MANY_REQUESTS:
            # Jitter on top of what the server asked for; all shipments keep to it.
            self.breaker.hold(self.clock.now() + own + shipment.retry_after)
        return own

    def _is_out_of_time(self, shipment: Shipment, _: RetryCallState) -> bool:
        may_go_at = max(self.clock.now() + shipment.delay, self.breaker.hold_until)
        return (
            shipment.tried_for + shipment.delay > self.policy.max_elapsed
            or may_go_at > shipment.deadline.at
        )

    async def _back_off(self, shipment: Shipment, delay: float) -> None:
        """
        Wait, and count that, but no more than planned: the loop may have stood still.
        """
        began = self.clock.now()
        await self._wait(shipment, delay)
        shipment.tried_for += min(delay, self.clock.now() - began)

    async def _wait(self, shipment: Shipment, delay: float) -> None:
        self.backing_off += 1
        shipment.idle_until = self.clock.now() + delay
        try:
            async with self.clock.timeout_at(shipment.idle_until):
                await self._hurry.wait()
        except TimeoutError:
            pass
        finally:
            shipment.idle_until = -inf
            self.backing_off -= 1
