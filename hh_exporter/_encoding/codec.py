"""
Make an event a record: the bytes that are queued, sent, sent again and kept.

An event is encoded once, at push, so later changes to it have no effect. Scalar
fields are checked; payloads may hold anything, and what orjson refuses is made
plain data first, with markers for what JSON can't represent. orjson never gets a
`default`: to run Python code while it encodes is not safe.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import orjson
from attrs import define, field, fields

from hh_exporter._clock import Clock
from hh_exporter._dialects.dialect import Dialect
from hh_exporter._dialects.kinds import unstructure_update
from hh_exporter._encoding.scalars import Scalars, copy_fields, wrong_type
from hh_exporter._log import get_log
from hh_exporter._outcomes import DropReason
from hh_exporter._outside import let_through
from hh_exporter._records import MAIN, UPDATES, Record, Session
from hh_exporter._responses.call import ModelCall
from hh_exporter._responses.filling import filled
from hh_exporter._values.legalize import MAX_DEPTH, MAX_ODD, legalize_fields
from hh_exporter._values.times import SECONDS, fill_times
from hh_exporter.events import (
    EVENT_TYPES,
    AnyEvent,
    Event,
    EventUpdate,
    ModelEvent,
    SessionProperties,
)
from hh_exporter.exceptions import EncodeError

__all__ = ["Codec", "copy_event", "no_event"]

log = get_log(__name__)

T = TypeVar("T", bound=ModelEvent | Event | EventUpdate | SessionProperties)

_scalars: Mapping[type[AnyEvent], Scalars[Any]] = {
    ModelEvent: Scalars(ModelEvent, required="model"),
    Event: Scalars(Event, required="event_type", choices={"event_type": EVENT_TYPES}),
}
_update_scalars = Scalars(EventUpdate, required="event_id")
_session_scalars = Scalars(SessionProperties, required="session_id")
_PLAIN = frozenset({ModelEvent, ModelCall, Event})
"""Whose fields are read as they are; a subclass of the user's may run code of its own."""
_TIMES = ("start_time", "end_time", "duration")
_NO_IDS = ("", ".", "..")
"""What names no event in the path of a URL: such segments are removed from it (RFC 3986 §5.2.4)."""

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
    limit: str = ""
    """The setting that says so; empty if it is the API."""
    _logged: set[str] = field(factory=set, init=False, repr=False)
    """What was logged already, once for each exporter and process."""

    def encode(
        self,
        event: AnyEvent,
        event_id: str,
        session_id: str | None = None,
        parent_id: str | None = None,
    ) -> Record:
        """
        Make the record of *event* as it is now, leaving the event as it is.

        Args:
            event: Anything; what is neither class is refused as `invalid`.
            event_id: The id under which it goes.
            session_id: The session that it belongs to, unless it names one itself.
            parent_id: The step that it belongs to, likewise.

        Raises:
            EncodeError: The event can't be sent; its reason says why.
            BaseException: It is so hostile that it can't be looked at.
        """
        if type(event) not in _PLAIN or event.extra is not None:
            event = self.check(event)
        route = self.dialect.event_route if isinstance(event, Event) else MAIN
        try:
            raw = self._dump(event, event_id, session_id, parent_id)
        except BaseException as exc:  # whatever odd values raise while they are looked at
            let_through(exc)
            raw = self._dump_odd(event, event_id, session_id, parent_id)
        return self._record(event_id, raw, route)

    def _record(self, event_id: str, raw: bytes, route: str) -> Record:
        if len(raw) > self.max_bytes:
            setting = self.limit and f" ({self.limit})"
            raise EncodeError(
                DropReason.TOO_LARGE, f"encoded it would exceed {self.max_bytes} bytes{setting}"
            )
        # orjson leaves slack behind its bytes, three times their size while they wait in
        # the queue; bytes(raw) would return the same object.
        return Record(event_id, bytes(memoryview(raw)), self.clock.now(), None, route)

    def check(self, event: AnyEvent) -> AnyEvent:
        """
        Check what is checked of an event, see `Scalars.check`, and read a client's response.
        """
        cls = _class_of(event)
        if isinstance(event, ModelEvent):
            event = filled(event)
        checked: AnyEvent = _scalars[cls].check(event)
        return checked

    def draft(self, event: AnyEvent, event_id: str, session_id: str | None) -> AnyEvent:
        """
        Copy *event* as plain data, with all that `encode` would fill in; raises as it does.
        """
        draft = self._make_plain(_class_of(event), self.check(event))
        draft.event_id = event_id
        stamps = {"session_id": session_id, "project": self.project, "source": self.source}
        times = {name: value for name in _TIMES if (value := getattr(draft, name)) is not None}
        fill_times(times, self.clock.wall() * 1000)
        for name, value in (stamps | times).items():
            if getattr(draft, name) is None:
                setattr(draft, name, value)
        return draft

    def draft_update(self, update: EventUpdate) -> EventUpdate:
        """
        Check an update and copy it as plain data; raises as `encode` does.
        """
        if not issubclass(type(update), EventUpdate):
            raise wrong_type("update", "an EventUpdate", update)
        draft = self._make_plain(EventUpdate, _update_scalars.check(update))
        if draft.event_id in _NO_IDS:
            raise EncodeError(DropReason.INVALID, "event_id: must name an event")
        return draft

    def encode_update(self, draft: EventUpdate) -> Record:
        """
        Make the record of an update that `draft_update` returned.
        """
        wire = unstructure_update(draft)
        if wire.keys() == {"event_id"}:
            raise EncodeError(DropReason.INVALID, "an update must say something of its event")
        return self._record(draft.event_id, orjson.dumps(wire, None, _OPTIONS), UPDATES)

    def draft_session(self, properties: SessionProperties) -> SessionProperties:
        """
        Check the properties of a session and copy them as plain data; raises as `encode` does.
        """
        if not issubclass(type(properties), SessionProperties):
            raise wrong_type("session", "SessionProperties", properties)
        return self._make_plain(SessionProperties, _session_scalars.check(properties))

    def encode_session(self, draft: SessionProperties) -> Session:
        """
        Make the announcement of a session that `draft_session` returned.
        """
        return self.dialect.describe(draft, self.clock.wall() * 1000, self.source)

    def _dump_odd(
        self, event: AnyEvent, event_id: str, session_id: str | None, parent_id: str | None
    ) -> bytes:
        """
        Try again with scalars that are made plain, then with plain payloads too.
        """
        checked = self.check(event)
        if checked is not event:
            try:
                return self._dump(checked, event_id, session_id, parent_id)
            except BaseException as exc:  # the payloads are odd too
                let_through(exc)
        return self._dump(
            self._make_plain(_class_of(checked), checked), event_id, session_id, parent_id
        )

    def _dump(
        self, event: AnyEvent, event_id: str, session_id: str | None, parent_id: str | None
    ) -> bytes:
        now = self.clock.wall() * 1000
        # By position: names would cost as much as the clock.
        wire = self.dialect.unstructure(
            event, event_id, session_id, now, self.project, self.source, parent_id
        )
        if wire["start_time"] < SECONDS:
            self._warn_of_seconds()
        return orjson.dumps(wire, None, _OPTIONS)

    def _warn_of_seconds(self) -> None:
        if "seconds" not in self._logged:
            self._logged.add("seconds")
            log.warning(
                "hh_exporter: an event starts before 1973: start_time and end_time are "
                "Unix milliseconds, not seconds; logged once"
            )

    def _make_plain(self, cls: type[T], instance: T) -> T:
        """
        Copy *instance* with nothing but plain data in it, all of its fields within one bound.
        """
        given = {a.name: v for a in fields(cls) if (v := getattr(instance, a.name)) is not None}
        copies, cut = legalize_fields(given)
        for name in cut:
            if name not in self._logged:
                self._logged.add(name)
                log.warning(
                    "hh_exporter: %s was cut: more than %d levels, or more than %d members "
                    "that are not plain JSON data; logged once",
                    name,
                    MAX_DEPTH,
                    MAX_ODD,
                )
        return cls(**copies)


def _class_of(event: object) -> type[AnyEvent]:
    for cls in _scalars:
        if issubclass(type(event), cls):
            return cls
    raise no_event(event)


def no_event(thing: object) -> EncodeError:
    """
    Say that *thing*, which was pushed, is no event.
    """
    name = type(thing).__name__
    return EncodeError(DropReason.INVALID, f"push takes a ModelEvent or an Event, not a {name}")


def copy_event(event: AnyEvent, changes: dict[str, Any]) -> AnyEvent:
    """
    Make a copy of *event* with *changes*.

    Raises:
        EncodeError: It is no event.
    """
    return copy_fields(_class_of(event), event, changes)
