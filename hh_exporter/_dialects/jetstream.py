"""
Events as messages of a stream of NATS JetStream, in the words of the wire that a relay speaks.

It encodes and announces as that wire does, and differs in what is handed over, messages
instead of a body, and in what it means that the other side has them: a relay is still to
deliver them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final
from uuid import uuid4

from attrs import Factory, frozen
from cattrs import Converter

from hh_exporter._dialects.bodies import merge
from hh_exporter._dialects.dialect import Answer, Dialect
from hh_exporter._dialects.messages import Messages, Receipt, write_message
from hh_exporter._outcomes import Outcome, Rest, Verdict
from hh_exporter._records import MAIN, UPDATES, Record, Session, by_seq
from hh_exporter.events import AnyEvent, SessionProperties

__all__ = ["JetStreamDialect"]

_CHECK_SIZES: Final = "check max_payload of the servers and max_msg_size of the stream"


@frozen
class JetStreamDialect:
    """
    The dialect of a stream.
    """

    wire: Dialect
    """What the relay speaks."""
    subject: str
    """Under which events are published, with the name of the wire behind it."""
    _maker: str = Factory(lambda: uuid4().hex)

    outcome: Final = Outcome.RELAYED
    overhead: Final = 0

    @property
    def name(self) -> str:
        return self.wire.name

    @property
    def event_route(self) -> str:
        return self.wire.event_route

    @property
    def converter(self) -> Converter:
        return self.wire.converter

    def batch_path(self, route: str = MAIN, event_id: str = "") -> str:
        return f"{self.subject}.{self.wire.name}"

    def single_path(self, route: str = MAIN) -> str:
        return self.batch_path(route)

    def unstructure(
        self,
        event: AnyEvent,
        event_id: str | None = None,
        session_id: str | None = None,
        now: float | None = None,
        project: str | None = None,
        source: str | None = None,
        parent_id: str | None = None,
    ) -> dict[str, Any]:
        return self.wire.unstructure(event, event_id, session_id, now, project, source, parent_id)

    def describe(
        self,
        session: SessionProperties,
        now: float | None = None,
        source: str | None = None,
    ) -> Session:
        return self.wire.describe(session, now, source)

    def wrap(
        self, records: Sequence[Record], session: Session | None = None, route: str = MAIN
    ) -> Messages:
        if route == UPDATES and records:
            records = sorted(records, key=by_seq)
            return Messages([write_message(records, merge(records), None, self._maker)])
        maker = self._maker
        return Messages([write_message((each,), each.data, session, maker) for each in records])

    def wrap_single(self, record: Record) -> Messages:
        return self.wrap((record,), None, record.route)

    def read(self, answer: Answer, event_ids: Collection[str], route: str = MAIN) -> Verdict:
        assert isinstance(answer, Receipt)  # noqa: S101
        stored = frozenset(answer.stored)
        left = len(event_ids) - len(stored)
        hint = answer.hint
        if not left:
            rest = Rest.NOTHING
        elif answer.hint:
            rest = Rest.SUSPENDED
        elif left == len(answer.too_large):
            rest, hint = Rest.TOO_LARGE, _CHECK_SIZES
        else:
            rest = Rest.RETRY
        return Verdict(
            created=stored,
            rest=rest,
            status=answer.status,
            reason=answer.failure or "stored",
            hint=hint,
        )

    def read_single(self, answer: Answer, event_id: str) -> tuple[Verdict, str]:
        return self.read(answer, (event_id,)), event_id
