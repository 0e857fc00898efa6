"""
The set-ups, events and answers that the stories of test_ledger are made of.

What is to become of an event is foreseen here, from its marks and the set-up
alone. A mark is a word in a field that no setting hides: `event_name` of an
event, `session_name` of a session.
"""

from __future__ import annotations

import json
from math import inf, nan
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar
from zlib import crc32

import orjson
from attrs import evolve, frozen
from hypothesis import strategies as st

from hh_exporter import DropReason, EventUpdate, ModelEvent, SessionProperties
from hh_exporter import Event as Step
from hh_exporter._dialects.dialect import Dialect
from hh_exporter._dialects.registry import DIALECTS
from tests.scripted_server import (
    Answer,
    Event,
    Manner,
    Request,
    Scripted,
    created,
    created_broken_body,
    created_cut_short,
    created_html,
    created_listing,
    created_without_body,
    foreign_ids,
    hang,
    hang_after_storing,
    html,
    limit_bytes,
    partly,
    redirect,
    refuse_if,
    reset_after_storing,
    reset_before_storing,
    status,
    too_many,
    trickle,
    truncated_headers,
    unavailable,
)
from tests.updates import mark_of, marks_of

T = TypeVar("T", bound=ModelEvent | Step | SessionProperties)
AnyEvent: TypeAlias = ModelEvent | Step

__all__ = [
    "ELSEWHERE",
    "HEALTHY",
    "HOSTILE",
    "KINDS",
    "MARKS",
    "OUTAGES",
    "REPLIES",
    "SESSIONS",
    "UPDATE_MARKS",
    "WRONG",
    "WRONG_UPDATES",
    "AnyEvent",
    "Reply",
    "SetUp",
    "announced_by",
    "failed_by",
    "is_bad",
    "is_refusal",
    "is_session_event",
    "releases_needed",
    "session_named",
    "set_ups",
]

# What events and sessions are marked as.

MARKS = (
    *("good", "good", "good", "bad", "poison", "changed", "moved"),
    *("filtered", "failing", "junk"),
)
"""Of an event: what the server, then what the hook makes of it; the first is the usual one."""

UPDATE_MARKS = (
    *("good", "good", "good", "good", "good", "bad", "poison", "changed"),
    *("filtered", "failing", "junk", "invalid", "too large"),
)
"""Of an update: the server refuses one that is bad."""

KINDS = (None, None, "model", "tool", "chain", "session")
"""Of an event: the type of a plain one; None for a model event."""

SESSIONS = ("plain", "another", "refused", "changed", "filtered", "failing")
"""Of a session, likewise."""

ELSEWHERE = "session-elsewhere"
"""Where the hook moves events to."""


def is_bad(event: Event) -> bool:
    return bool(event["event_name"] == "bad")


def is_session(event: Event, name: str) -> bool:
    return event.get("event_type") == "session" and bool(event["event_name"] == name)


def session_named(name: str) -> SessionProperties:
    return SessionProperties(
        session_id=f"session-{name}", session_name=name, metadata={"secret": "of a session"}
    )


def before_send(draft: Any) -> Any:
    """
    Do what the mark says.
    """
    match _mark_of(draft):
        case "failing":
            raise LookupError("the hook fails")
        case "junk":
            return "junk"
        case "filtered":
            return None
        case "moved":
            draft.session_id = ELSEWHERE
        case "changed":
            draft.user_properties = {"changed": True}
    return draft


def _mark_of(draft: Any) -> str | None:
    if isinstance(draft, SessionProperties):
        return draft.session_name
    if isinstance(draft, EventUpdate):
        return mark_of(draft.feedback)
    mark: str = draft.event_name
    return mark


class _Hostile:
    """
    Raises whatever is asked of it.
    """

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __repr__(self) -> str:
        raise RuntimeError("repr")


class _HostileDict(dict[str, Any]):
    def items(self) -> Any:
        raise RuntimeError("items")


def _endless() -> list[Any]:
    endless: list[Any] = []
    endless.append(endless)
    return endless


def _nested(levels: int) -> Any:
    value: Any = "deep"
    for _ in range(levels):
        value = [value]
    return value


class _Pair(NamedTuple):
    key: Any
    value: Any


HOSTILE: dict[str, Any] = {
    "NaN": nan,
    "an endless number": inf,
    "an int of 71 bits": 2**70,
    "half of a surrogate pair": "\ud800",
    "bytes": b"\xff",
    "a set": {1, 2},
    "an object": object(),
    "a named tuple": _Pair("key", {}),
    "keys of other types": {1: "a", "1": "b", (2,): "c"},
    "what raises": _Hostile(),
    "a dict that raises": _HostileDict(key="value"),
    "a list within itself": _endless(),
    "a deep list": _nested(300),
}
"""What JSON has no word for, by name: hypothesis prints what it chose."""


WRONG: dict[str, dict[str, Any]] = {
    "a text for a number": {"mark": "invalid", "duration": "long"},
    "no model": {"mark": "invalid", "model": None},
    "too many bytes": {"mark": "too large", "user_properties": {"text": "x" * 10_000}},
}
"""What is dropped at once."""

WRONG_UPDATES: dict[str, dict[str, Any]] = {
    "invalid": {"duration": "long"},
    "too large": {"user_properties": {"text": "x" * 10_000}},
}
"""The same of updates, by their marks."""


# How an exporter and its server are set up.

_WIRES = {name: make() for name, make in DIALECTS.items()}
_INPUTS = ("messages", "template", "template_inputs", "tools", "inputs")
_OUTPUTS = ("response", "outputs")


@frozen(kw_only=True)
class SetUp:
    """
    One exporter's settings, and what its server dislikes all the time.

    Attributes:
        gzip: None if bodies are not compressed, else how the server answers that.
        firewall: How each body with a poisoned event is answered; None if like others.
        session_refusal: How each body is that announces the session "refused".
    """

    dialect: Literal["legacy", "v1"]
    hooked: bool
    hide_inputs: bool
    hide_outputs: bool
    sample_rate: float
    gzip: Literal[None, 200, 400, 415]
    firewall: Literal[None, 403, 500]
    session_refusal: Literal[400, 500]

    @property
    def wire(self) -> Dialect:
        return _WIRES[self.dialect]

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "dialect": self.dialect,
            "before_send": before_send if self.hooked else None,
            "hide_inputs": self.hide_inputs,
            "hide_outputs": self.hide_outputs,
            "sample_rate": self.sample_rate,
            "compression": None if self.gzip is None else "gzip",
        }

    # The exporter's side.

    def foresee(
        self, event: AnyEvent, session: SessionProperties | None = None, *, sample: bool = True
    ) -> DropReason | None:
        """
        Say why *event* does not even become a record, None if it does.
        """
        if sample and self.leaves_out(event, session):
            return DropReason.SAMPLED
        if self.hooked and session is not None and session.session_name == "failing":
            return DropReason.HOOK_FAILED
        if event.event_name == "invalid":
            return DropReason.INVALID
        if self.hooked and event.event_name == "filtered":
            return DropReason.FILTERED
        if self.hooked and event.event_name in ("failing", "junk"):
            return DropReason.HOOK_FAILED
        return DropReason.TOO_LARGE if event.event_name == "too large" else None

    def foresee_update(self, mark: str) -> DropReason | None:
        """
        Say why an update does not even become a record, None if it does.
        """
        found = {"invalid": DropReason.INVALID, "too large": DropReason.TOO_LARGE}
        if self.hooked:
            found |= {
                "filtered": DropReason.FILTERED,
                "failing": DropReason.HOOK_FAILED,
                "junk": DropReason.HOOK_FAILED,
            }
        return found.get(mark)

    def foresee_body(self, fields: dict[str, Any], mark: str) -> Event:
        """
        Say what the server sees of an update, but for the id of its event.
        """
        hidden = {"outputs"} if self.hide_outputs else set()
        hidden |= {"metadata"} if self.hide_inputs or self.hide_outputs else set()
        seen = {name: value for name, value in fields.items() if name not in hidden}
        return seen | ({"user_properties": {"changed": True}} if self.changes(mark) else {})

    def changes(self, mark: str) -> bool:
        return self.hooked and mark == "changed"

    def leaves_out(self, event: AnyEvent, session: SessionProperties | None = None) -> bool:
        key = _session_id_of(event, session) or event.event_id or ""
        return crc32(key.encode()) >= self.sample_rate * 2**32

    def foresee_wire(
        self, event: AnyEvent, session: SessionProperties | None, wall: float
    ) -> Event:
        """
        Say what the server sees of an event that is pushed at *wall*, but for its `feedback`.
        """
        seen = evolve(event, feedback=None, session_id=_session_id_of(event, session))
        if self.hooked:
            seen = before_send(seen)
        wire = self.wire.unstructure(self._hide(seen), event.event_id, now=wall * 1000)
        parsed: Event = json.loads(orjson.dumps(wire))
        return parsed

    def announces(self, event: AnyEvent, session: SessionProperties | None) -> bool:
        """
        Whether the server is told of *session* before or with *event*.
        """
        if session is None or event.session_id is not None:
            return False
        is_kept = session.session_name == "filtered" or event.event_name == "moved"
        return not (self.hooked and is_kept)

    def foresee_announcement(self, session: SessionProperties) -> Any:
        """
        Say what the server sees of the properties of *session*.
        """
        seen = evolve(session)
        if self.hooked:
            seen = before_send(seen)
        return json.loads(orjson.dumps(self.wire.converter.unstructure(self._hide(seen))))

    def foresee_session(self, session: SessionProperties, wall: float) -> Event | None:
        """
        Say what event *session* is, if it is one, when it is first pushed at *wall*.
        """
        if self.dialect == "legacy":
            return None
        said: Event = self.foresee_announcement(session)
        return said | {"start_time": wall * 1000}

    def _hide(self, seen: T) -> T:
        hidden = [*(_INPUTS if self.hide_inputs else ()), *(_OUTPUTS if self.hide_outputs else ())]
        if hidden:
            hidden += ["metadata", "extra"]
        changes: dict[str, Any] = {name: None for name in hidden if hasattr(seen, name)}
        return evolve(seen, **changes)

    # The server's side.

    def object_to(self, request: Request, *, is_well: bool) -> Answer | None:
        """
        Find how the server answers what it dislikes; None if there is nothing to dislike.

        Args:
            request: What it got.
            is_well: Whether the firewall is down, and updates are taken as they are.
        """
        if self.gzip in (400, 415) and "content-encoding" in request.headers:
            return status(self.gzip)
        refused = any(is_session(event, "refused") for event in request.events)
        if refused or announced_by(request).get("session_name") == "refused":
            failed = json.dumps({"event_ids": [], "errors": ["no such session"]}).encode()
            return status(self.session_refusal, failed if self.session_refusal == 500 else b"")
        said = marks_of(request.update) if request.update is not None else set()
        if "bad" in said and not is_well:
            return status(400)
        poisoned = "poison" in {*said, *(event["event_name"] for event in request.events)}
        if self.firewall is not None and poisoned and not is_well:
            return status(self.firewall)
        return None


def is_session_event(event: AnyEvent) -> bool:
    return isinstance(event, Step) and event.event_type == "session"


def _session_id_of(event: AnyEvent, session: SessionProperties | None) -> str | None:
    return event.session_id or (session.session_id if session is not None else None)


set_ups = st.builds(
    SetUp,
    dialect=st.sampled_from(["legacy", "v1"]),
    hooked=st.booleans(),
    hide_inputs=st.sampled_from([False, False, True]),
    hide_outputs=st.sampled_from([False, False, True]),
    sample_rate=st.sampled_from([1.0, 1.0, 0.5]),
    gzip=st.sampled_from([None, None, 200, 400, 415]),
    firewall=st.sampled_from([None, 403, 500]),
    session_refusal=st.sampled_from([400, 500]),
)


# What a server may do.


@frozen
class Reply:
    """
    One thing that a server may do.

    Attributes:
        tells: Whether a client that waits for it learns what was stored.
    """

    scripted: Scripted
    tells: bool = True


REPLIES = {
    "created": Reply(created()),
    "created, without a body": Reply(created_without_body()),
    "created, half of the JSON": Reply(created_broken_body()),
    "created, cut short": Reply(created_cut_short()),
    "created, other ids listed": Reply(created_listing(["somebody-else"])),
    "created, a web page": Reply(created_html(), tells=False),
    "created, under ids of its own": Reply(foreign_ids(), tells=False),
    "created, then reset": Reply(reset_after_storing(), tells=False),
    "created, half of the headers": Reply(truncated_headers(), tells=False),
    "created, then silence": Reply(hang_after_storing()),
    "created, byte by byte": Reply(trickle()),
    "partly": Reply(partly(is_bad, shuffle=True)),
    "partly, without errors": Reply(partly(is_bad, shuffle=True, errors=False)),
    "partly, with 200": Reply(partly(is_bad, status=200)),
    "400 if one is bad": Reply(refuse_if(is_bad)),
    "400": Reply(status(400)),
    "413 above 1000 bytes": Reply(limit_bytes(1_000)),
    "413": Reply(status(413)),
    "429, Retry-After": Reply(too_many(3)),
    "503": Reply(unavailable()),
    "503, Retry-After": Reply(unavailable(5)),
    "500": Reply(status(500)),
    "401": Reply(status(401)),
    "403": Reply(status(403)),
    "404": Reply(status(404)),
    "redirect": Reply(redirect("/elsewhere")),
    "200, a web page": Reply(html(200)),
    "502, a web page": Reply(html(502)),
    "reset": Reply(reset_before_storing()),
    "silence": Reply(hang()),
}
HEALTHY = ("created", "partly", "partly, with 200", "400 if one is bad", "413 above 1000 bytes")
"""What a server may do all the time."""
OUTAGES = (
    *("503", "503, Retry-After", "500", "502, a web page", "reset", "silence", "413"),
    *("401", "403", "404", "redirect", "200, a web page", "400"),
)
"""What a server may do for a while: fail, or refuse whatever it gets."""


def announced_by(request: Request) -> dict[str, Any]:
    """
    Find the properties that *request* announces; empty without.
    """
    found: dict[str, Any] = request.json.get("session_properties") or {}
    return found


def is_refusal(answer: Answer) -> bool:
    """
    Whether *answer* says that a whole body, or its sender, is not wanted.
    """
    if answer.content_type.startswith("text/html"):
        return answer.status < 500
    return 300 <= answer.status < 500 and answer.status not in (413, 429)


def failed_by(answer: Answer, ids: list[str]) -> list[str]:
    """
    List those of *ids*, of one request, that *answer* says were tried, and not that they exist.
    """
    whole = answer.body.startswith(b"{") and answer.body.endswith(b"}")
    said = json.loads(answer.body) if whole else {}
    if not said.get("errors"):
        return []
    return [event_id for event_id in ids if event_id not in said["event_ids"]]


def releases_needed(answer: Answer) -> int:
    """
    Say how often the server must be released until *answer* is all out.
    """
    match answer.manner:
        case Manner.HELD:
            return 1
        case Manner.TRICKLED:
            return len(answer.body)
        case _:
            return 0
