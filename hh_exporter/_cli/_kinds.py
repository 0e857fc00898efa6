"""
What a line of JSON holds: an event, of the kind that it says.

A line of the collector's own export holds its event one level further in. What is
wrong names the field as the line has it, and never its value.
"""

from __future__ import annotations

from typing import Any

import orjson
from attrs import define, field

from hh_exporter._cli._lines import MAX_LINE_BYTES
from hh_exporter._dialects.legacy import LegacyDialect
from hh_exporter._values.reading import read_json
from hh_exporter.events import EVENT_TYPES, AnyEvent, Event, ModelEvent
from hh_exporter.exceptions import EventError

__all__ = ["LineParser"]

_EXPORTED = {"event", "event_id", "session_id", "path", "time"}
"""The keys of a line of GET /api/events.jsonl."""


@define(eq=False)
class LineParser:
    """
    Makes events of lines, for either dialect.
    """

    _converter: Any = field(factory=lambda: LegacyDialect().converter, init=False)

    def parse(self, text: bytes) -> AnyEvent:
        """
        Make an `Event` of what has an `event_type`, else a `ModelEvent`.

        So is a model event whose type is given beside its `model`, as before there were
        other kinds.

        Raises:
            EventError: It is no event.
        """
        if len(text) > MAX_LINE_BYTES:
            raise EventError(None, f"is longer than {MAX_LINE_BYTES:,} bytes")
        try:
            value = read_json(text)
        except orjson.JSONDecodeError as exc:
            raise EventError(None, f"is not JSON: {exc.msg}, column {exc.colno}") from None
        if not isinstance(value, dict) or value.keys() != _EXPORTED:
            return self._structure(value)
        try:
            return self._structure(_exported(value))
        except EventError as exc:
            inner = f"event.{exc.field}" if exc.field else "event"
            raise EventError(inner, exc.problem) from None

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


def _exported(line: dict[str, Any]) -> Any:
    """
    Take the event out of a line of the collector's export, with the ids that it was given.
    """
    event = line["event"]
    if not isinstance(event, dict):
        return event
    return {"event_id": line["event_id"], "session_id": line["session_id"], **event}
