"""
Events of every kind, and updates, as the routes for them have them, the same in both dialects.

The rule is that of v1: what the routes don't know goes to `metadata`, nothing is lost or
overwritten, and nothing that the API refuses is sent.
"""

from __future__ import annotations

from typing import Any, Final

from hh_exporter._dialects.converter import present_fields
from hh_exporter._dialects.shapes import file_into, is_texts, require_plain, take_misfits
from hh_exporter.events import EVENT_TYPES, Event, EventUpdate

__all__ = ["unstructure_event", "unstructure_update"]

_OBJECTS: Final = (
    *("inputs", "outputs", "config", "metadata", "metrics", "feedback", "user_properties"),
)
_ROOT: Final = (
    *("event_type", "event_name", "project", "source", "error"),
    *("event_id", "session_id", "parent_id", "children_ids"),
    *("start_time", "end_time", "duration"),
)
_list_root = present_fields(Event, _ROOT)
_list_objects = present_fields(Event, _OBJECTS)
_list_update = present_fields(EventUpdate, ("event_id", "duration"))
_list_updated = present_fields(EventUpdate, _OBJECTS)


def unstructure_event(event: Event, event_id: str | None = None) -> dict[str, Any]:
    """
    Map *event* to the shape of POST /v1/events, and `project`, which only older servers take.

    Each field keeps its name; an `event_name` that is not set is the `event_type`. A value
    that is no object, where the wire takes only objects, goes to `metadata` under the name
    of its field, and so does each key of `extra` but a `project_id`. A session that names
    none belongs to itself: *event_id* is its session.

    Raises:
        TypeError: The type is none of `EVENT_TYPES`, or a payload is not plain data.
    """
    wire = _list_root(event)
    if wire["event_type"] not in EVENT_TYPES:
        raise TypeError("event_type is none that the API knows")
    wire.setdefault("event_name", wire["event_type"])
    objects = _list_objects(event)
    left = take_misfits(objects)
    if "children_ids" in wire and not is_texts(wire["children_ids"]):
        left["children_ids"] = require_plain(wire.pop("children_ids"))
    extra = {**require_plain(event.extra)} if event.extra else {}
    if type(extra.get("project_id")) is str:
        wire["project_id"] = extra.pop("project_id")
    if left or extra:
        objects["metadata"] = file_into(objects.get("metadata"), left, extra)
    wire["inputs"] = objects.pop("inputs", {})
    wire |= objects
    if event_id is not None and event.event_type == "session":
        wire.setdefault("session_id", event_id)
    return wire


def unstructure_update(update: EventUpdate) -> dict[str, Any]:
    """
    Map *update* to the shape of PUT /events, with the id of its event.

    A value that is no object goes to `metadata` under the name of its field, as for an event.

    Raises:
        TypeError: A payload is not plain data.
    """
    objects = _list_updated(update)
    if left := take_misfits(objects):
        objects["metadata"] = file_into(objects.get("metadata"), left)
    return _list_update(update) | objects
