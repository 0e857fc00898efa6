"""
The routes POST /events/model[/batch] for model events, and /events[/batch] for all others.

Deprecated by newer servers, and still served by all. The rule: what is sent conforms
to CreateModelEvent or CreateEventRequest of the API description 1.0.21, the strictest
forms known, so that every version takes it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cache
from typing import Any, Final

import orjson
from cattrs import Converter

from hh_exporter._dialects.answers import read_answer, read_single_answer
from hh_exporter._dialects.bodies import merge, wrap
from hh_exporter._dialects.converter import make_converter, present_fields
from hh_exporter._dialects.dialect import Answer
from hh_exporter._dialects.kinds import unstructure_event
from hh_exporter._dialects.shapes import require_plain
from hh_exporter._dialects.stamps import settle_session, stamp
from hh_exporter._outcomes import Outcome, Verdict
from hh_exporter._records import MAIN, OTHERS, UPDATES, Record, Session
from hh_exporter.events import AnyEvent, Event, ModelEvent, SessionProperties

__all__ = ["LegacyDialect"]

_HEADS: Final = {MAIN: b'{"model_events":[', OTHERS: b'{"events":['}
_LONE_HEADS: Final = {MAIN: b'{"model_event":', OTHERS: b'{"event":'}
_BATCH_PATHS: Final = {MAIN: "/events/model/batch", OTHERS: "/events/batch", UPDATES: "/events"}
_LONE_PATHS: Final = {MAIN: "/events/model", OTHERS: "/events"}
_ANNOUNCEMENT: Final = b',"is_single_session":true,"session_properties":%b'


class LegacyDialect:
    """
    The dialect of /events/model[/batch] and /events[/batch].

    The fields of a model event are its keys on the wire. Plain data of another shape
    than a key has there is converted:

    - a `response` that is not an object becomes `{"content": …}`; another field
      that must be an object becomes `{"value": …}`
    - `messages` that are a string become one message of the user; in other arrays
      of objects an object becomes the only item, and an item that is not an object
      becomes `{"content": …}`
    - a `tool_choice` that is not a string becomes its JSON text

    An `Event` has the shape that it has in v1, see `unstructure_event`, with what the
    description requires beyond that: `project`, `source` and `config`.
    """

    name: Final = "legacy"
    outcome: Outcome = Outcome.DELIVERED
    event_route: Final = OTHERS
    overhead: Final = max(len(wrap(head, ())) for head in _HEADS.values())

    @property
    def converter(self) -> Converter:
        return _converter()

    def batch_path(self, route: str = MAIN, event_id: str = "") -> str:
        return _BATCH_PATHS[route]

    def single_path(self, route: str = MAIN) -> str:
        return _LONE_PATHS[route]

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
        if isinstance(event, Event):
            wire = unstructure_event(event, event_id)
            wire.setdefault("config", {})
            wire.setdefault("source", source or "unknown")
        else:
            wire = _list_fields(event)
            if event.extra:
                wire = {**require_plain(event.extra), **wire}
        wire.setdefault("project", project or "default")
        stamp(wire, event_id, session_id, source, now, parent_id)
        return wire

    def describe(
        self,
        session: SessionProperties,
        now: float | None = None,
        source: str | None = None,
    ) -> Session:
        properties = orjson.dumps(_unstructure_session(session))
        return Session(str(session.session_id), _ANNOUNCEMENT % properties)

    def wrap(
        self, records: Sequence[Record], session: Session | None = None, route: str = MAIN
    ) -> bytes:
        return merge(records) if route == UPDATES else wrap(_HEADS[route], records, session)

    def wrap_single(self, record: Record) -> bytes:
        return b"".join((_LONE_HEADS[record.route], record.data, b"}"))

    def read(self, answer: Answer, event_ids: Collection[str], route: str = MAIN) -> Verdict:
        return read_answer(answer, event_ids, is_update=route == UPDATES)

    def read_single(self, answer: Answer, event_id: str) -> tuple[Verdict, str]:
        return read_single_answer(answer, event_id)


@cache
def _converter() -> Converter:
    return make_converter(LegacyDialect().unstructure, _unstructure_session)


def _unstructure_session(session: SessionProperties) -> dict[str, Any]:
    wire = _list_session_fields(session)
    if session.extra:
        wire = {**require_plain(session.extra), **wire}
    if "session_id" in wire:
        settle_session(wire)
    return wire


def _fit(name: str, value: Any) -> Any:
    """
    Bring *value* into the shape that the field *name* has on the wire.
    """
    match name:
        case "messages" | "template" | "tools":
            # The one check that ordinary events pay for: nothing is called for each item.
            for item in value if type(value) is list else (None,):
                if type(item) is not dict:
                    return _fit_array(name, value)
            return value
        case "tool_choice":
            return orjson.dumps(require_plain(value)).decode()
        case "response":
            return {"content": require_plain(value)}
        case _:
            return {"value": require_plain(value)}


def _fit_array(name: str, value: Any) -> list[dict[str, Any]]:
    if name == "messages" and type(value) is str:
        return [{"role": "user", "content": value}]
    items = value if type(value) is list else [value]
    return [item if type(item) is dict else {"content": require_plain(item)} for item in items]


_FILLED: Final = {"provider": "unknown", "messages": [], "response": {}, "usage": {}}
_list_fields = present_fields(ModelEvent, fill=_FILLED, fit=_fit)
_list_session_fields = present_fields(SessionProperties, fit=_fit)
