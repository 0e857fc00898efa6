"""
The routes POST /events/model and POST /events/model/batch.

Deprecated by newer servers, still served by all, and the documented seed of
this project. What leaves satisfies CreateModelEvent of the API description
1.0.21, the strictest form known, so that every version takes it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

import orjson
from cattrs import Converter

from hh_exporter._dialect import Answer
from hh_exporter._dialects._answers import load_object, read_answer
from hh_exporter._dialects._bodies import wrap
from hh_exporter._dialects._converter import make_converter, present_fields
from hh_exporter._outcomes import Verdict
from hh_exporter._records import Record, Session
from hh_exporter.events import ModelEvent

__all__ = ["LegacyDialect"]

_present = present_fields(ModelEvent)
_REQUIRED: Final = frozenset(("project", "provider", "messages", "response", "usage"))
_NO_OBJECT: Final = (str, int, float, list, tuple)
_HEAD: Final = b'{"model_events":['
_ANNOUNCEMENT: Final = b',"is_single_session":true,"session_properties":%b'


class LegacyDialect:
    """
    The dialect of /events/model[/batch].
    """

    name: Final = "legacy"
    batch_path: Final = "/events/model/batch"
    single_path: Final = "/events/model"
    overhead: Final = len(wrap(_HEAD, ()))
    converter: Converter

    def __init__(self) -> None:
        self.converter = make_converter(self.unstructure)

    def unstructure(
        self,
        event: ModelEvent,
        *,
        event_id: str | None = None,
        now: float | None = None,
        project: str | None = None,
        source: str | None = None,
    ) -> dict[str, Any]:
        wire = _present(event)
        if event.extra:
            wire = {**event.extra, **wire}
        if event_id is not None:
            wire["event_id"] = event_id
        if source is not None:
            wire.setdefault("source", source)
        if not wire.keys() >= _REQUIRED:
            wire = {
                "project": project or "default",
                "provider": "unknown",
                "messages": [],
                "response": {},
                "usage": {},
                **wire,
            }
        _fill_times(wire, now)
        _fit_shapes(wire)
        return wire

    def announce(self, properties: bytes) -> bytes:
        return _ANNOUNCEMENT % properties

    def wrap(self, records: Sequence[Record], session: Session | None = None) -> bytes:
        return wrap(_HEAD, records, session)

    def wrap_single(self, record: Record) -> bytes:
        return b"".join((b'{"model_event":', record.data, b"}"))

    def read(self, answer: Answer, event_ids: Collection[str]) -> Verdict:
        return read_answer(answer, event_ids)

    def read_single(self, answer: Answer, event_id: str) -> tuple[Verdict, str]:
        verdict = read_answer(answer, (event_id,))
        named = load_object(answer.body).get("event_id") if verdict.created else None
        return verdict, named if isinstance(named, str) and named else event_id


def _fill_times(wire: dict[str, Any], now: float | None) -> None:
    """
    Derive what is missing of start, end and duration from what is there.

    Without times an event that is sent late is stamped on arrival.
    """
    start = wire.get("start_time")
    end = wire.get("end_time")
    duration = wire.get("duration")
    if end is None and now is not None:
        end = wire["end_time"] = now if start is None or duration is None else start + duration
    if duration is None:
        duration = 0 if start is None or end is None else max(0, end - start)
        wire["duration"] = duration
    if start is None and end is not None:
        wire["start_time"] = end - duration


def _fit_shapes(wire: dict[str, Any]) -> None:
    """
    Bring what clients commonly hand over into the types of the wire.
    """
    response = wire["response"]
    if type(response) is not dict and isinstance(response, _NO_OBJECT):
        wire["response"] = {"content": response}
    if "tools" in wire and isinstance(wire["tools"], dict):
        wire["tools"] = [wire["tools"]]
    if "tool_choice" in wire and not isinstance(wire["tool_choice"], str):
        wire["tool_choice"] = orjson.dumps(wire["tool_choice"]).decode()
