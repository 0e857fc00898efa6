"""
One batch until every record has an outcome, or must go back to the queue.

Acts on verdicts: it settles what they decide and splits what they leave open.
What is in a delivery's `pending` is in flight in the ledger and belongs to it
alone; each record leaves it once, settled or given back, so that nothing is
counted twice, whenever it is cancelled.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Sequence
from http import HTTPStatus
from math import inf

from attrs import Factory, define, evolve

from hh_exporter._clock import Clock, Deadline, within
from hh_exporter._delivery.breaker import SETBACKS_IN_A_ROW
from hh_exporter._delivery.judging import (
    REFUSED,
    are_doubted,
    divide,
    fate_of,
    first_failed_at,
    learn,
    leaves_no_hope,
    refusal_at,
)
from hh_exporter._delivery.parts import Delivery, Part
from hh_exporter._delivery.settler import Settler
from hh_exporter._delivery.shipment import Shipment
from hh_exporter._delivery.shipping import Shipper
from hh_exporter._delivery.slots import Slots
from hh_exporter._dialects.dialect import Answer, Dialect, method_of
from hh_exporter._log import get_log
from hh_exporter._outcomes import DropReason, Outcome, Rest, Verdict
from hh_exporter._outside import comes_from_outside
from hh_exporter._queue.queue import RecordQueue
from hh_exporter._records import UPDATES, Record, total_bytes
from hh_exporter._sessions import Sessions
from hh_exporter.exceptions import DeliveryError

__all__ = ["Deliverer"]

log = get_log(__name__)


class _Blocked(Exception):  # noqa: N818 - no error
    """
    All sending is blocked: what is pending must wait in the queue.
    """


@define(eq=False, kw_only=True)
class Deliverer:
    """
    All that deliveries share.
    """

    queue: RecordQueue
    settler: Settler
    dialect: Dialect
    sessions: Sessions
    shipper: Shipper
    clock: Clock
    limit_bytes: Callable[[int, float], None]
    """Called with the size that bodies must not exceed from now on, and the time."""
    slots: Slots
    _splitter: Delivery | None = None
    """The delivery whose refused batch is being split, until an answer creates an event."""
    _accepted_then: int = 0
    _turn: asyncio.Event = Factory(asyncio.Event)

    async def deliver(self, delivery: Delivery) -> None:
        """
        Send until no record is pending, or the pending ones must wait in the queue.

        Raises nothing but cancellation, and what comes from outside.
        """
        try:
            await self._deliver(delivery)
        except _Blocked:
            seen = self.shipper.breaker.accepted + self.shipper.on_wire  # as for `refusal_at`
            for record in delivery.pending:
                if record in delivery.refused:
                    record.doubted_at = seen
        except Exception as exc:
            if comes_from_outside(exc):
                raise
            # Without its text, which may quote a payload.
            log.error(  # noqa: TRY400
                "hh_exporter: a delivery failed with %s; please report this:\n%s",
                type(exc).__name__,
                "".join(traceback.format_tb(exc.__traceback__)),
            )
            lost = tuple(delivery.pending)
            self.settler.settle(lost, Outcome.DROPPED, DropReason.INTERNAL_ERROR)
            delivery.release_all()
        finally:
            delivery.shipment = None  # it refers to the delivery: a reference cycle a batch
            if self._splitter is delivery:
                self._splitter = None
                self._pass_turn()

    async def deliver_one(self, record: Record, deadline: Deadline) -> str:
        """
        Send one record by itself, until *deadline*.

        Returns:
            The server's id of the event.

        Raises:
            ExporterError: The queue is closed; the record is not counted.
            DeliveryError: It was rejected, or dropped as `send_failed`.
        """
        delivery = Delivery((record,), accepted_before=self.shipper.breaker.accepted)
        server_id = record.event_id

        def read(answer: Answer) -> Verdict:
            nonlocal server_id
            verdict, server_id = self.dialect.read_single(answer, record.event_id)
            self._settle_created(delivery, (record,), verdict)
            return verdict

        shipment = delivery.shipment = Shipment(
            path=self.dialect.single_path(record.route),
            wrap=lambda: self.dialect.wrap_single(record),
            read=read,
            deadline=deadline,
            is_probe=True,
            is_urgent=True,
        )
        self.slots.begin(delivery)
        try:
            self.queue.bypass(record)
            async with within(self.clock, deadline):
                verdict = await self.shipper.ship(shipment)
                if verdict.rest is Rest.FAILED:
                    await self.shipper.pause(shipment)
                    await self.shipper.ship(shipment)
        except TimeoutError:
            pass
        finally:
            self.slots.end(delivery)
            delivery.shipment = None
            verdict = shipment.verdict
            is_refused = self._may_end_one(delivery, verdict)
            reason = None if is_refused else DropReason.SEND_FAILED
            lost = self._settle(delivery, (record,), reason, verdict)
        if not lost:
            return server_id
        fate = "was rejected" if is_refused else "could not be delivered"
        hint = f"; {verdict.hint}" if verdict.hint else ""
        raise DeliveryError(
            f"the event {fate}: {verdict.reason}{hint}",
            status=verdict.status,
            body=verdict.text,
            reason=reason,
        )

    def give_up_singles(self) -> None:
        """
        Drop what `deliver_one` was sending: its event loop stopped. Any thread.
        """
        for delivery in tuple(self.slots.singles):
            lost = delivery.release_all()
            self.settler.settle(lost, Outcome.DROPPED, DropReason.SEND_FAILED)

    async def _deliver(self, delivery: Delivery) -> None:
        records = delivery.records
        if delivery.route == UPDATES and self.settler.has_lost(records[0].event_id):
            lost = delivery.release_all()
            self.settler.settle(lost, Outcome.DROPPED, DropReason.EVENT_LOST)
            return
        tried_for = min([record.tried_for for record in records])
        part = Part(records, delivery.session, tried_for=tried_for, is_probe=delivery.is_probe)
        delivery.accepted_before = self.shipper.breaker.accepted
        await self._send_all(delivery, [part])
        await self._send_last(delivery)
        if delivery.fitting < inf and not delivery.has_misfit:
            self.limit_bytes(int(delivery.fitting), self.clock.now())

    async def _send_all(self, delivery: Delivery, parts: Sequence[Part]) -> None:
        """
        Send *parts*, then what each must be divided into: a good half waits for no bad one.
        """
        if delivery.route == UPDATES:  # in their order: what is said last is what counts
            for part in parts:
                if part.is_last and delivery.shipment is not None:
                    await self.shipper.pause(delivery.shipment)
                await self._send_all(delivery, await self._send(delivery, part))
            return
        divided = [await self._send(delivery, self._as_it_stands(part)) for part in parts]
        is_outage = self.shipper.breaker.accepted == delivery.accepted_before
        if is_outage and len(delivery.last) >= SETBACKS_IN_A_ROW:
            await self._send_last(delivery)  # it seems to fail on everything: don't split the rest
        for halves in divided:
            await self._send_all(delivery, halves)

    async def _send_last(self, delivery: Delivery) -> None:
        """
        Send once more what failed alone: a server that fails for a moment must not cost it.
        """
        last, delivery.last = delivery.last, []
        if last and delivery.shipment is not None:
            await self.shipper.pause(delivery.shipment)
        for part in last:
            await self._send(delivery, part)

    async def _send(self, delivery: Delivery, part: Part) -> Sequence[Part]:
        """
        Send one body and settle what is decided by the answer.

        Returns:
            The parts in which the rest is to be sent.

        Raises:
            _Blocked: All sending is blocked now.
        """
        shipment = delivery.shipment = self._make_shipment(delivery, part)
        verdict = await self.shipper.ship(shipment)
        if shipment.accepted_before is not None:
            for record in part.records:
                if record.failed_at is None:
                    record.failed_at = shipment.accepted_before
        rest = delivery.among(part.records)
        if not rest:
            return []
        if verdict.rest in REFUSED and part.refused_at == inf:
            breaker, on_wire = self.shipper.breaker, self.shipper.on_wire
            part = evolve(part, refused_at=refusal_at(verdict, breaker.accepted, on_wire))
            delivery.refused.update(rest)
        ends = leaves_no_hope(part, verdict, is_blamed=shipment.is_blamed)
        if self._must_wait(verdict) or (ends and not self._may_end(part, rest, verdict)):
            self._mark(part, verdict, shipment)
            raise _Blocked
        if ends:
            delivery.has_misfit |= verdict.rest is Rest.TOO_LARGE
            self._settle(delivery, rest, fate_of(verdict)[1], verdict)
            return []
        return await self._divide(delivery, part, rest, verdict)

    async def _divide(
        self, delivery: Delivery, part: Part, rest: tuple[Record, ...], verdict: Verdict
    ) -> Sequence[Part]:
        """
        Make the parts in which *rest*, what is left of *part*, is sent again.
        """
        shipment = delivery.shipment
        assert shipment is not None  # noqa: S101
        part = evolve(part, tried_for=shipment.tried_for, is_probe=False)
        divided = divide(part, rest, verdict, is_blamed=shipment.is_blamed)
        if verdict.rest is Rest.TOO_LARGE and len(divided) > 1:
            # What the halves have; just below the refused size would be refused again
            # as soon as the server's limit is a little lower.
            size = self.dialect.overhead + total_bytes(part.records) + len(part.records)
            announced = len(part.announced.data) if part.announced else 0
            delivery.fitting = min(delivery.fitting, size // 2 + announced)
        if verdict.rest in REFUSED and not verdict.created:
            await self._wait_for_turn(delivery)
        if delivery.route == UPDATES:
            return divided
        delivery.last += [new for new in divided if new.is_last]
        return [new for new in divided if not new.is_last]

    def _as_it_stands(self, part: Part) -> Part:
        """
        Leave out the session of *part* if it has been announced since.
        """
        session = part.announced
        if session is not None and self.sessions.is_known(session.session_id):
            return evolve(part, announced=None)
        return part

    def _make_shipment(self, delivery: Delivery, part: Part) -> Shipment:
        def read(answer: Answer) -> Verdict:
            sent = {record.event_id for record in delivery.among(part.records)}
            verdict = self.dialect.read(answer, sent, delivery.route)
            if verdict.rest is Rest.SUSPENDED and self._is_to_blame(part, verdict):
                verdict = evolve(verdict, rest=Rest.INVALID, hint="")
            self._settle_created(delivery, part.records, verdict)
            if verdict.created:
                delivery.has_misfit |= part.withheld is not None
                learn(self.sessions, part)
                self._pass_turn()
            return verdict

        return Shipment(
            method=method_of(delivery.route),
            path=self.dialect.batch_path(delivery.route, part.records[0].event_id),
            wrap=lambda: self.dialect.wrap(
                delivery.among(part.records), self._as_it_stands(part).announced, delivery.route
            ),
            read=read,
            tried_for=part.tried_for,
            accepted_before=first_failed_at(part.records),
            is_probe=part.is_probe,
            is_full=delivery.is_full and part.records is delivery.records,
            is_divisible=not part.is_lone or part.announced is not None,
        )

    # What an answer means for others.

    def _must_wait(self, verdict: Verdict) -> bool:
        """
        Whether what an attempt left open must wait in the queue, as all sending does.
        """
        is_over = self.shipper.breaker.is_blocked or self.shipper.is_retired
        return verdict.rest is Rest.SUSPENDED or (verdict.rest is not Rest.NOTHING and is_over)

    def _mark(self, part: Part, verdict: Verdict, shipment: Shipment) -> None:
        """
        Note on the records of *part* what must be known when they are sent again.
        """
        for record in part.records:
            if verdict.rest is Rest.SUSPENDED and verdict.status is not None:
                record.doubted_at = self.shipper.breaker.accepted
            if not part.is_probe:
                record.tried_for = shipment.tried_for

    def _may_end(self, part: Part, rest: Sequence[Record], verdict: Verdict) -> bool:
        """
        Whether *rest*, which *verdict* leaves no hope, may end by it.
        """
        if verdict.rest is Rest.RETRY or self.settler.spares(rest, *fate_of(verdict)):
            return True  # it is the user's own limit that is over, or they go back
        accepted = self.shipper.breaker.accepted
        is_known = part.refused_at < accepted or are_doubted(rest, accepted)
        return self.shipper.may_end(verdict, len(rest), is_known=is_known)

    def _may_end_one(self, delivery: Delivery, verdict: Verdict) -> bool:
        """
        Whether the event of a delivery that goes past the queue is rejected by *verdict*.
        """
        if verdict.rest not in REFUSED:
            return False
        is_known = delivery.accepted_before < self.shipper.breaker.accepted
        may = self.shipper.may_end(verdict, 1, is_known=is_known)
        return may and verdict.rest is not Rest.TOO_LARGE

    def _is_to_blame(self, part: Part, verdict: Verdict) -> bool:
        """
        Whether an answer that refuses us is about the body of *part*.

        It is if each of its records was refused in this way before, and others were
        created since: a firewall that dislikes a text answers like that. HTTP 401 is
        about the key and never about a text.
        """
        breaker = self.shipper.breaker
        if breaker.is_blocked or verdict.status == HTTPStatus.UNAUTHORIZED:
            return False
        return are_doubted(part.records, breaker.accepted)

    async def _wait_for_turn(self, delivery: Delivery) -> None:
        """
        Split one refused batch at a time, until something shows that others are taken.
        """
        breaker = self.shipper.breaker
        while (
            self._splitter not in (None, delivery)
            and breaker.accepted == self._accepted_then
            and not breaker.is_blocked
        ):
            await self._turn.wait()
        self._splitter = delivery
        self._accepted_then = breaker.accepted

    def _pass_turn(self) -> None:
        self._turn.set()
        self._turn = asyncio.Event()

    # What it means for its own records.

    def _settle_created(
        self, delivery: Delivery, records: Sequence[Record], verdict: Verdict
    ) -> None:
        created = delivery.among(records)
        if len(verdict.created) != len(created):
            created = tuple([r for r in created if r.event_id in verdict.created])
        # First: what is interrupted in between may go on where it was.
        self.settler.settle(created, self.dialect.outcome, status=verdict.status)
        delivery.release(created)

    def _settle(
        self,
        delivery: Delivery,
        records: Sequence[Record],
        reason: DropReason | None,
        verdict: Verdict,
    ) -> Sequence[Record]:
        """
        Drop for *reason*, or reject without one, those of *records* that are pending.
        """
        lost = delivery.among(records)
        outcome = Outcome.DROPPED if reason else Outcome.REJECTED
        self.settler.settle(lost, outcome, reason, status=verdict.status, answer=verdict.text)
        return delivery.release(lost)
