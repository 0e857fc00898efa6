"""
The routes POST /v1/events and POST /v1/events/batch.

These take events of any type, and refuse a key that they don't know. So each field
of a model event goes to the place where events of this API have it, and what has
no place goes to `metadata`. The rule: nothing is lost, nothing is overwritten, and
nothing that the API refuses is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from typing import Any, Final
from urllib.parse import quote

import orjson
from cattrs import Converter

from hh_exporter._dialects.answers import read_answer, read_single_answer
from hh_exporter._dialects.bodies import merge, wrap
from hh_exporter._dialects.converter import make_converter, present_fields
from hh_exporter._dialects.dialect import Answer
from hh_exporter._dialects.kinds import unstructure_event
from hh_exporter._dialects.shapes import (
    are_equal,
    file_into,
    is_texts,
    require_plain,
    take_misfits,
)
from hh_exporter._dialects.stamps import settle_session, stamp
from hh_exporter._outcomes import Outcome, Verdict
from hh_exporter._records import MAIN, UPDATES, Record, Session
from hh_exporter.events import (
    AnyEvent,
    CreateModelEventBatchRequestBody,
    CreateModelEventRequestBody,
    Event,
    ModelEvent,
    SessionProperties,
    new_id,
)

__all__ = ["V1Dialect"]

_HEAD: Final = b'{"events":['

_ROOT: Final = (
    *("event_id", "session_id", "parent_id", "event_name", "source", "error"),
    *("start_time", "end_time", "duration"),
    *("project", "cost"),  # not there on the wire: listed to be checked
)
_CONFIG: Final = (
    *("model", "provider", "hyperparameters", "template"),
    *("tools", "tool_choice", "response_format"),
)
_OBJECTS: Final = (
    *("inputs", "template_inputs", "outputs", "response", "config", "metadata", "usage"),
    *("metrics", "feedback", "user_properties"),
)
_list_root = present_fields(ModelEvent, _ROOT)
_list_config = present_fields(ModelEvent, _CONFIG)
_list_objects = present_fields(ModelEvent, _OBJECTS)
_list_session = present_fields(SessionProperties)

_SESSION_OBJECTS: Final[Sequence[str]] = (
    *("config", "inputs", "outputs"),
    *("metadata", "metrics", "feedback", "user_properties"),
)

_EXTRA_ROOT: Final[Mapping[str, Callable[[Any], bool]]] = {
    "event_type": lambda value: type(value) is str and value == "model",
    "project_id": lambda value: type(value) is str,
    "children_ids": is_texts,
}
"""The keys of the wire that no field is for, and what each may be."""


class V1Dialect:
    """
    The dialect of /v1/events[/batch].

    | field | its place on the wire |
    | --- | --- |
    | — | `event_type`, always `"model"` |
    | `event_id`, `session_id`, `parent_id`, `source`, `error` | the same |
    | `event_name` | the same; if unset, the `model` |
    | `start_time`, `end_time`, `duration` | the same; filled in if missing |
    | `metrics`, `feedback`, `user_properties` | the same |
    | `inputs` | `inputs`; `{}` if unset |
    | `messages` | `inputs.chat_history` |
    | `template_inputs` | each key in `inputs` |
    | `outputs` | `outputs` |
    | `response` | each key in `outputs`; if it is not an object, `outputs.content` |
    | `config` | `config` |
    | `model`, `provider`, `hyperparameters`, `template` | the same in `config` |
    | `tool_choice`, `response_format` | the same in `config` |
    | `tools` | `config.tools`, an object as an array of one |
    | `metadata` | `metadata` |
    | `cost` | `metadata.cost` |
    | `usage` | each key in `metadata` |
    | `project` | not sent: the key decides |
    | `extra`: `project_id`, `children_ids` | the same, if a string and an array of strings |
    | `extra`: every other key | the same in `metadata` |

    If two fields map to the same place, the one further up in the table gets it.
    The other goes to `metadata` under the name of its field, unless both are
    equal; of a field that maps to several keys, only those whose place is taken.
    A value that is not an object, where the wire takes only objects, goes to
    `metadata` under the name of its field, too. If that name is taken there,
    " (2)" is appended, or " (3)", and so on.

    An `Event` has the fields of the wire; see `unstructure_event`. A session is an event
    of type `session` whose `event_id` is its `session_id`;
    `session_name` is its `event_name`, and all its other fields keep their names.
    """

    name: Final = "v1"
    outcome: Outcome = Outcome.DELIVERED
    event_route: Final = MAIN
    overhead: Final = len(wrap(_HEAD, ()))

    @property
    def converter(self) -> Converter:
        return _converter()

    def batch_path(self, route: str = MAIN, event_id: str = "") -> str:
        return f"/v1/events/{quote(event_id, '')}" if route == UPDATES else "/v1/events/batch"

    def single_path(self, route: str = MAIN) -> str:
        return "/v1/events"

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
            wire.pop("project", None)
        else:
            wire = _unstructure_model_event(event)
        stamp(wire, event_id, session_id, source, now, parent_id)
        return wire

    def describe(
        self,
        session: SessionProperties,
        now: float | None = None,
        source: str | None = None,
    ) -> Session:
        wire = _unstructure_session(session)
        if now is not None:
            wire.setdefault("start_time", now)
        if source is not None:
            wire.setdefault("source", source)
        return Session(str(session.session_id), orjson.dumps(wire), wire.get("event_id"))

    def wrap(
        self, records: Sequence[Record], session: Session | None = None, route: str = MAIN
    ) -> bytes:
        return merge(records) if route == UPDATES else wrap(_HEAD, records, session)

    def wrap_single(self, record: Record) -> bytes:
        return record.data

    def read(self, answer: Answer, event_ids: Collection[str], route: str = MAIN) -> Verdict:
        return read_answer(answer, event_ids, is_update=route == UPDATES)

    def read_single(self, answer: Answer, event_id: str) -> tuple[Verdict, str]:
        return read_single_answer(answer, event_id)


def _unstructure_model_event(event: ModelEvent) -> dict[str, Any]:
    wire = _list_root(event)
    wire.pop("project", None)
    wire["event_type"] = "model"
    wire.setdefault("event_name", event.model)  # else the server calls it "unknown"
    _place_payloads(event, wire)
    return wire


def _place_payloads(event: ModelEvent, wire: dict[str, Any]) -> None:
    """
    Add the payloads of *event* to *wire*, and share its containers where they stay as they are.
    """
    objects = _list_objects(event)
    left = take_misfits(objects)
    if "response" in left:
        objects["response"] = {"content": left.pop("response")}
    pop = objects.pop

    inputs = pop("inputs", {})
    if event.messages is not None:
        inputs, taken = _join(inputs, {"chat_history": event.messages})
        if taken:
            left["messages"] = event.messages
    if "template_inputs" in objects:
        inputs, taken = _join(inputs, pop("template_inputs"))
        if taken:
            left["template_inputs"] = taken
    wire["inputs"] = inputs

    if "response" in objects:
        objects["outputs"], taken = _join(objects.get("outputs"), pop("response"))
        if taken:
            left["response"] = taken

    config = _list_config(event)
    if "tools" in config and type(require_plain(config["tools"])) is dict:
        config["tools"] = [config["tools"]]
    objects["config"], taken = _join(objects.get("config"), config)
    if taken:
        left |= taken

    cost = wire.pop("cost", None)
    if cost is not None:
        objects["metadata"], taken = _join(objects.get("metadata"), {"cost": cost})
        if taken:
            left |= taken
    if "usage" in objects:
        objects["metadata"], taken = _join(objects.get("metadata"), pop("usage"))
        if taken:
            left["usage"] = taken

    others = _place_extra(event.extra, wire) if event.extra else {}
    if left or others:
        objects["metadata"] = file_into(objects.get("metadata"), left, others)
    wire |= objects  # what is still among them has its own place


@cache
def _converter() -> Converter:
    unstructure = V1Dialect().unstructure
    converter = make_converter(unstructure, _unstructure_session)
    converter.register_unstructure_hook(
        CreateModelEventRequestBody, lambda body: unstructure(body.model_event)
    )

    @converter.register_unstructure_hook
    def unstructure_batch(body: CreateModelEventBatchRequestBody) -> dict[str, Any]:
        events = [unstructure(event) for event in body.model_events]
        if body.session_properties is not None:
            events.insert(0, _unstructure_session(body.session_properties))
        single = body.is_single_session
        return {"events": events} | ({} if single is None else {"single_session": single})

    return converter


def _unstructure_session(session: SessionProperties) -> dict[str, Any]:
    """
    Make the event that a session is: of type `session`, with the session's id for its own.
    """
    wire = _list_session(session)
    objects = {name: wire.pop(name) for name in _SESSION_OBJECTS if name in wire}
    left = take_misfits(objects)
    extra: dict[str, Any] = require_plain(session.extra) or {}
    if left or extra:
        objects["metadata"] = file_into(objects.get("metadata"), left, extra)
    wire |= {
        "event_type": "session",
        "event_name": wire.pop("session_name", "session"),
        "inputs": objects.pop("inputs", {}),
        **objects,
    }
    if "session_id" in wire:
        settle_session(wire)
        # An empty id names no session, and no event: an answer could not say that it was created.
        wire["session_id"] = wire["event_id"] = wire["session_id"] or new_id()
    return wire


def _place_extra(extra: dict[str, Any], wire: dict[str, Any]) -> dict[str, Any]:
    """
    Add to *wire* those keys that it takes, and return the others.
    """
    others = {}
    for name, value in require_plain(extra).items():
        if name in _EXTRA_ROOT and _EXTRA_ROOT[name](value):
            wire[name] = value
        else:
            others[name] = value
    return others


def _join(
    place: dict[str, Any] | None, added: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """
    Join both into a dict, which may be one of them; *place* has its keys first.

    Returns:
        What both are together, and those of *added* whose key says something else in *place*.
    """
    if not place:
        return added, None
    if place.keys().isdisjoint(added):
        return {**place, **added}, None
    taken = {k: v for k, v in added.items() if k in place and not are_equal(place[k], v)}
    return {**added, **place}, taken
