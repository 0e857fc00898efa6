"""
Make an event a record: the bytes that are queued, sent, sent again and kept.

An event is encoded once, at push, so what changes afterwards changes nothing.
The scalar fields are checked; a payload is whatever orjson can say, and what it
refuses is made plain data first, with the odd leaf marked. orjson never gets a
`default`, and nothing for which it runs Python code if we can help it: such code
may change what it is walking over, which crashes the interpreter.
"""

from __future__ import annotations

from typing import Any, TypeVar

import attrs
import orjson
from attrs import define

from hh_exporter._clock import Clock
from hh_exporter._dialect import Dialect
from hh_exporter._legalize import legalize
from hh_exporter._outcomes import DropReason
from hh_exporter._records import Record, Session
from hh_exporter._scalars import Scalars, copy_fields, wrong_type
from hh_exporter._times import fill_times
from hh_exporter.events import ModelEvent, SessionProperties
from hh_exporter.exceptions import EncodeError

__all__ = ["Codec"]

T = TypeVar("T", ModelEvent, SessionProperties)

_event_scalars = Scalars(ModelEvent, "model")
_session_scalars = Scalars(SessionProperties, "session_id")
_NAMES = {cls: tuple(a.name for a in attrs.fields(cls)) for cls in (ModelEvent, SessionProperties)}
_TIMES = ("start_time", "end_time", "duration")

# A time zone and the fields of a dataclass may be Python code; legalize makes both plain.
_OPTIONS = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS


@define(eq=False, kw_only=True)
class Codec:
    """
    Turn events into records for one dialect.
    """

    dialect: Dialect
    clock: Clock
    project: str | None = None
    source: str | None = None
    max_bytes: int
    """Bytes of the largest record."""

    def encode(self, event: ModelEvent, event_id: str, session_id: str | None = None) -> Record:
        """
        Make the record of *event* as it is now, leaving the event as it is.

        Args:
            event: Anything; what is no ModelEvent is an error like others.
            event_id: The id under which it goes.
            session_id: The session that it belongs to, unless it names one itself.

        Raises:
            EncodeError: The event can't be sent; its reason says why.
            Exception: It is so hostile that it can't be looked at.
        """
        event = self.check(event)
        try:
            raw = orjson.dumps(self._unstructure(event, event_id, session_id), None, _OPTIONS)
        except Exception:  # whatever odd payloads raise while they are looked at
            plain = _make_plain(ModelEvent, event)
            raw = orjson.dumps(self._unstructure(plain, event_id, session_id))
        if len(raw) > self.max_bytes:
            raise EncodeError(
                DropReason.TOO_LARGE, f"encoded it would exceed {self.max_bytes} bytes"
            )
        # orjson leaves slack behind its bytes, three times their size while they wait in
        # the queue; bytes(raw) would return the same object.
        return Record(event_id, bytes(memoryview(raw)), self.clock.now())

    def check(self, event: ModelEvent) -> ModelEvent:
        """
        Check what is checked of an event; see `Scalars.check`.
        """
        if not issubclass(type(event), ModelEvent):
            raise EncodeError(
                DropReason.INVALID, f"push takes a ModelEvent, not a {type(event).__name__}"
            )
        _check_extra(event)
        return _event_scalars.check(event)

    def draft(self, event: ModelEvent, event_id: str, session_id: str | None) -> ModelEvent:
        """
        Copy *event* as plain data, with all that `encode` would fill in; raises as it does.
        """
        draft = _make_plain(ModelEvent, self.check(event))
        draft.event_id = event_id
        draft.session_id = session_id if draft.session_id is None else draft.session_id
        draft.project = self.project if draft.project is None else draft.project
        draft.source = self.source if draft.source is None else draft.source
        times = {n: value for n in _TIMES if (value := getattr(draft, n)) is not None}
        fill_times(times, self.clock.wall() * 1000)
        for name, value in times.items():
            setattr(draft, name, value)
        return draft

    def draft_session(self, properties: SessionProperties) -> SessionProperties:
        """
        Copy the properties of a session as plain data; raises as `encode` does.
        """
        if not issubclass(type(properties), SessionProperties):
            raise wrong_type("session", "SessionProperties", properties)
        _check_extra(properties)
        return _make_plain(SessionProperties, _session_scalars.check(properties))

    def encode_session(self, properties: SessionProperties) -> Session:
        """
        Make what announces a session; raises as `encode` does.
        """
        plain = self.draft_session(properties)
        raw = orjson.dumps(self.dialect.converter.unstructure(plain))
        return Session(str(plain.session_id), self.dialect.announce(raw))

    def _unstructure(
        self, event: ModelEvent, event_id: str, session_id: str | None
    ) -> dict[str, Any]:
        return self.dialect.unstructure(
            event,
            event_id=event_id,
            session_id=session_id,
            now=self.clock.wall() * 1000,
            project=self.project,
            source=self.source,
        )


def _check_extra(owner: ModelEvent | SessionProperties) -> None:
    extra: Any = owner.extra
    if extra is None:
        return
    if not issubclass(type(extra), dict):
        raise wrong_type("extra", "a dict", extra)
    cls = ModelEvent if isinstance(owner, ModelEvent) else SessionProperties
    if not dict.keys(extra).isdisjoint(_NAMES[cls]):
        raise EncodeError(
            DropReason.INVALID, "extra: must not name a key that is a field of its own"
        )


def _make_plain(cls: type[T], instance: T) -> T:
    """
    Copy *instance* with nothing but plain data in it, all of its fields within one bound.
    """
    fields = legalize({name: getattr(instance, name) for name in _NAMES[cls]})
    return copy_fields(cls, instance, fields)
