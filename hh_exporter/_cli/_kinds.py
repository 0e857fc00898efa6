"""
What a line of JSON holds: an event, of the kind that it says.

A line of the collector's own export holds an event, or a session, one level further in.
What is wrong names the field as the line has it, and never its value.
"""

from __future__ import annotations

from typing import Any

import orjson
from attrs import define, field

from hh_exporter._cli._lines import MAX_LINE_BYTES
from hh_exporter._dialects.legacy import LegacyDialect
from hh_exporter._dialects.vendor import to_session_uuid
from hh_exporter._values.reading import read_json
from hh_exporter.events import EVENT_TYPES, AnyEvent, Event, ModelEvent
from hh_exporter.exceptions import EventError

__all__ = ["LineParser"]

_EVENT = {"event", "event_id", "session_id", "path", "time"}
"""The keys of a line of GET /api/events.jsonl, which make no event."""
_SESSION = {"session_id", "properties", "time"}
"""Those of a line of GET /api/sessions.jsonl."""
_ONLY_AN_ID = {"session_id"}
"""What is said of a session of which only its events are known, at most."""


@define(eq=False)
class LineParser:
    """
    Makes events of lines, for either dialect.

    A session of an export becomes an event of type `session`, as the API has it; that is
    sent once, whether the export has it as an event, as a session, or as both.
    """

    _converter: Any = field(factory=lambda: LegacyDialect().converter, init=False)
    _sessions: set[str] = field(factory=set, init=False)
    """The sessions of exports that were events already."""

    def parse(self, text: bytes) -> AnyEvent | None:
        """
        Make an `Event` of what has an `event_type`, else a `ModelEvent`.

        So is a model event whose type is given beside its `model`, as before there were
        other kinds. None for a session of an export of which there is nothing more to say.

        Raises:
            EventError: It is no event.
        """
        if len(text) > MAX_LINE_BYTES:
            raise EventError(None, f"is longer than {MAX_LINE_BYTES:,} bytes")
        try:
            value = read_json(text)
        except orjson.JSONDecodeError as exc:
            raise EventError(None, f"is not JSON: {exc.msg}, column {exc.colno}") from None
        keys = value.keys() if isinstance(value, dict) else ()
        if keys == _EVENT:
            return self._exported_event(value)
        if keys == _SESSION:
            return self._exported_session(value)
        if not {"model", "event_type"} & set(keys) and {"event", "properties"} & set(keys):
            raise EventError(None, "is neither an event nor a whole line of the collector's export")
        return self._structure(value)

    def _exported_event(self, line: dict[str, Any]) -> AnyEvent | None:
        """
        Take the event out of a line, with the ids that it was given.
        """
        value = line["event"]
        if isinstance(value, dict):
            value = {"event_id": line["event_id"], "session_id": line["session_id"], **value}
        event: AnyEvent = self._structure_within("event", value)
        if isinstance(event, Event) and event.event_type == "session":
            is_root = event.event_id == event.session_id
            if is_root and not self._is_first(event):
                return None
        _date(event, line["time"])
        return event

    def _exported_session(self, line: dict[str, Any]) -> Event | None:
        """
        Make the event that a session is, unless its events say it all.
        """
        value = line["properties"]
        if isinstance(value, dict):
            if value.keys() <= _ONLY_AN_ID:
                return None
            session_id = line["session_id"]
            name = {"event_name": value.pop("session_name", None)}
            ids = {"event_id": session_id, "session_id": session_id}
            value = {**value, **name, **ids, "event_type": "session"}
        event: Event = self._structure_within("properties", value)
        if not self._is_first(event):
            return None
        _date(event, line["time"])
        return event

    def _is_first(self, event: Event) -> bool:
        """
        Note the session that *event* is, by the id that it will have.
        """
        session_id = event.session_id or ""
        event.event_id = to_session_uuid(session_id) if session_id else None
        is_first = session_id not in self._sessions
        self._sessions.add(session_id)
        return is_first

    def _structure_within(self, name: str, value: Any) -> Any:
        try:
            return self._structure(value)
        except EventError as exc:
            inner = exc.field
            if name == "properties" and inner == "event_name":
                inner = "session_name"
            raise EventError(f"{name}.{inner}" if inner else name, exc.problem) from None

    def _structure(self, value: Any) -> AnyEvent:
        cls: type[AnyEvent] = ModelEvent
        if isinstance(value, dict) and (kind := value.pop("event_type", None)) is not None:
            if type(kind) is not str or kind not in EVENT_TYPES:
                raise EventError("event_type", "must be model, tool, chain or session")
            value["event_type"] = kind
            if kind != "model" or value.get("model") is None:
                cls = Event
        event: AnyEvent = self._converter.structure(value, cls)
        return event


def _date(event: AnyEvent, time: Any) -> None:
    """
    Let what has no times of its own have ended when the collector got it, not now.
    """
    if event.end_time is None and (event.start_time is None or event.duration is None):
        event.end_time = time if type(time) is int else None
