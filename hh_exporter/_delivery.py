"""
One batch until every record has an outcome, or is back in the queue.

Reads verdicts, never statuses: it settles what they decide and splits what they
leave open. What is in a delivery's `pending` is in flight in the ledger and
belongs to it alone; each record leaves it once, settled or given back, so that
nothing can be counted twice, whoever is cancelled when.
"""

from __future__ import annotations

import logging
import traceback
from collections import deque
from collections.abc import Callable, Sequence

from attrs import Factory, define

from hh_exporter._clock import Clock
from hh_exporter._dialect import Answer, Dialect
from hh_exporter._outcomes import DropReason, Outcome, Rest, Verdict
from hh_exporter._queue import RecordQueue
from hh_exporter._records import Batch, Record
from hh_exporter._settler import Settler
from hh_exporter._shipping import Shipment, Shipper
from hh_exporter.exceptions import DeliveryError

__all__ = ["Deliverer", "Delivery"]

log = logging.getLogger(__name__)

Part = tuple[Record, ...]
"""Records of a delivery that go out in one body."""


@define(eq=False)
class Delivery:
    """
    The records of one batch that are in flight.
    """

    pending: dict[str, Record]
    is_probe: bool = False
    """Whether it may be sent to a server that refuses us."""
    failed: set[str] = Factory(set)
    """Ids of records that the server tried to create once, and could not."""

    @classmethod
    def of(cls, batch: Batch, *, is_probe: bool) -> Delivery:
        return cls({record.event_id: record for record in batch.records}, is_probe)

    def among(self, records: Sequence[Record]) -> Part:
        """
        Choose those of *records* that have no outcome yet.
        """
        return tuple(record for record in records if record.event_id in self.pending)

    def release(self, records: Sequence[Record]) -> Part:
        """
        Let go of *records*: the caller settles them or gives them back.
        """
        return tuple(self.pending.pop(record.event_id) for record in self.among(records))

    def release_all(self) -> Part:
        records = tuple(self.pending.values())
        self.pending.clear()
        return records


@define(eq=False, kw_only=True)
class Deliverer:
    """
    All that deliveries share.
    """

    queue: RecordQueue
    settler: Settler
    dialect: Dialect
    shipper: Shipper
    clock: Clock
    limit_bytes: Callable[[int], None]
    """Told the size that bodies must not exceed from now on."""

    async def deliver(self, delivery: Delivery) -> None:
        """
        Send until no record is pending; raises nothing but cancellation.
        """
        try:
            await self._deliver(delivery)
        except Exception as exc:
            # Without its text, which may quote a payload.
            log.error(  # noqa: TRY400
                "a delivery failed of %s; please report this:\n%s",
                type(exc).__name__,
                "".join(traceback.format_tb(exc.__traceback__)),
            )
            lost = delivery.release_all()
            self.settler.settle(lost, Outcome.DROPPED, DropReason.INTERNAL_ERROR)

    async def deliver_one(self, record: Record, deadline: float) -> str:
        """
        Send one record by itself, until *deadline*.

        Returns:
            The server's id of the event.

        Raises:
            ExporterError: The queue is closed; the record is not counted.
            DeliveryError: It was rejected, or dropped as `send_failed`.
        """
        self.queue.bypass(record)
        delivery = Delivery({record.event_id: record})
        server_id = record.event_id

        def read(answer: Answer) -> Verdict:
            nonlocal server_id
            verdict, server_id = self.dialect.read_single(answer, record.event_id)
            self._settle_created(delivery, verdict)
            return verdict

        shipment = Shipment(
            path=self.dialect.single_path,
            pack=lambda: self.dialect.wrap_single(record),
            read=read,
            started=self.clock.now(),
            deadline=deadline,
            is_probe=True,
        )
        try:
            async with self.clock.timeout_at(deadline):
                verdict = await self.shipper.ship(shipment)
                if verdict.rest is Rest.FAILED:
                    await self.shipper.ship(shipment)
        except TimeoutError:
            pass
        finally:
            verdict = shipment.verdict
            is_refused = verdict.rest in (Rest.INVALID, Rest.FAILED, Rest.AMBIGUOUS)
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

    async def _deliver(self, delivery: Delivery) -> None:
        parts = deque[Part]([tuple(delivery.pending.values())])
        while parts:
            part = parts.popleft()
            verdict = await self.shipper.ship(self._pack(delivery, part))
            is_passing = verdict.rest is Rest.RETRY
            if verdict.rest is Rest.SUSPENDED or (is_passing and self.shipper.breaker.is_suspended):
                self.queue.give_back(delivery.release_all())
                return
            parts.extendleft(reversed(self._judge(delivery, part, verdict)))

    def _pack(self, delivery: Delivery, part: Part) -> Shipment:
        def read(answer: Answer) -> Verdict:
            sent = {record.event_id for record in delivery.among(part)}
            verdict = self.dialect.read(answer, sent)
            self._settle_created(delivery, verdict)
            return verdict

        return Shipment(
            path=self.dialect.batch_path,
            pack=lambda: self.dialect.wrap(delivery.among(part)),
            read=read,
            started=self.clock.now(),
            is_probe=delivery.is_probe,
        )

    def _judge(self, delivery: Delivery, part: Part, verdict: Verdict) -> list[Part]:
        """
        Settle what *verdict* decides about the rest of *part*.

        Returns:
            The parts in which the others are sent again.
        """
        rest = delivery.among(part)
        was_alone = len(part) == 1
        match verdict.rest:
            case _ if not rest:
                return []
            case Rest.RETRY:
                self._settle(delivery, rest, DropReason.RETRIES_EXHAUSTED, verdict)
                return []
            case Rest.AMBIGUOUS:
                self._settle(delivery, rest, None, verdict)
                return []
            case Rest.TOO_LARGE if was_alone:
                self._settle(delivery, rest, DropReason.TOO_LARGE, verdict)
                return []
            case Rest.TOO_LARGE:
                # What the halves have; just below the refused size would be refused again
                # as soon as the server's limit is a little lower.
                size = sum(len(record.data) + 1 for record in part)
                self.limit_bytes((self.dialect.overhead + size) // 2)
            case Rest.INVALID if was_alone:
                self._settle(delivery, rest, None, verdict)
                return []
            case Rest.FAILED if was_alone and rest[0].event_id in delivery.failed:
                self._settle(delivery, rest, None, verdict)
                return []
            case Rest.FAILED:
                delivery.failed.update(record.event_id for record in rest)
        middle = (len(rest) + 1) // 2
        return [half for half in (rest[:middle], rest[middle:]) if half]

    def _settle_created(self, delivery: Delivery, verdict: Verdict) -> None:
        if len(verdict.created) == len(delivery.pending):
            created = delivery.release_all()
        else:
            records = tuple(delivery.pending.values())
            created = delivery.release([r for r in records if r.event_id in verdict.created])
        self.settler.settle(created, Outcome.DELIVERED, status=verdict.status)

    def _settle(
        self, delivery: Delivery, part: Part, reason: DropReason | None, verdict: Verdict
    ) -> Part:
        """
        Drop for *reason*, or reject without one, those of *part* that are pending.
        """
        lost = delivery.release(part)
        outcome = Outcome.DROPPED if reason else Outcome.REJECTED
        self.settler.settle(lost, outcome, reason, status=verdict.status)
        return lost
