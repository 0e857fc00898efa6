"""
The agent that `hh-exporter demo` shows beside its model calls.

One session with one question: a chain, tools that run side by side, a tool that fails
and is tried again, and an answer that is streamed. Each step is listed when it ends, as
a program pushes it: what led to it comes later.
"""

from __future__ import annotations

from typing import Any

from attrs import frozen

from hh_exporter.events import AnyEvent, Event, ModelEvent, new_id

__all__ = ["agent_trace"]

_ORDER = "FL-30290"
_QUESTION = f"My order {_ORDER} was due on Friday. Can it still go to my new address?"
_ANSWER = (
    "Your rucksack is at the depot in Mill Lane and hasn't left yet, so yes: I've changed the "
    "address to 7 Harbour Row. It now arrives on Tuesday."
)
_ADDRESS = "7 Harbour Row"
_LENGTH = 5_400


@frozen
class _Session:
    """
    What the steps of one session share.
    """

    session_id: str
    began: float

    def step(
        self, kind: str, name: str, parent_id: str, start: float, length: float, **fields: Any
    ) -> Event:
        """
        Make a step that began so many milliseconds after the session, and took so long.
        """
        placed = self._placed(name, parent_id, start, length)
        return Event(event_type=kind, **placed, **fields)

    def call(
        self, name: str, parent_id: str, start: float, length: float, **fields: Any
    ) -> ModelEvent:
        """
        Make a call of a model in the same way.
        """
        placed = self._placed(name, parent_id, start, length)
        return ModelEvent(model="gpt-4o", provider="openai", **placed, **fields)

    def _placed(self, name: str, parent_id: str, start: float, length: float) -> dict[str, Any]:
        return {
            "event_id": new_id(),
            "event_name": name,
            "session_id": self.session_id,
            "parent_id": parent_id,
            "source": "production",
            "start_time": self.began + start,
            "end_time": self.began + start + length,
            "duration": length,
        }


def agent_trace(now: float) -> list[AnyEvent]:
    """
    Make the events of a session that ends *now*, in Unix milliseconds, under new ids.
    """
    session = _Session(new_id(), now - _LENGTH)
    question = {"role": "user", "content": _QUESTION}
    answer = session.step(
        "chain",
        "agent/answer",
        session.session_id,
        20,
        5_300,
        inputs={"question": _QUESTION},
        outputs={"answer": _ANSWER},
        metrics={"steps": 3},
    )
    top = str(answer.event_id)
    reply = session.call(
        "agent/reply",
        top,
        3_380,
        1_900,
        messages=[question],
        response={"role": "assistant", "content": _ANSWER},
        usage={"prompt_tokens": 655, "completion_tokens": 41, "total_tokens": 696},
        cost=0.00205,
        metrics={"time_to_first_token": 410},
    )
    whole = Event(
        event_type="session",
        event_name="support chat",
        event_id=session.session_id,
        session_id=session.session_id,
        source="production",
        start_time=session.began,
        end_time=session.began + _LENGTH,
        duration=_LENGTH,
        user_properties={"user_id": "u_0427", "plan": "team"},
    )
    plan, order = _plan(session, top, question), _look_up_order(session, top)
    return [plan, order, *_check_address(session, top), reply, answer, whole]


def _plan(session: _Session, parent_id: str, question: dict[str, str]) -> ModelEvent:
    return session.call(
        "agent/plan",
        parent_id,
        30,
        900,
        messages=[question],
        response={
            "role": "assistant",
            "content": None,
            "tool_calls": [
                _tool_call("lookup_order", f'{{"order_id": "{_ORDER}"}}'),
                _tool_call("check_address", f'{{"address": "{_ADDRESS}"}}'),
            ],
        },
        usage={"prompt_tokens": 412, "completion_tokens": 46, "total_tokens": 458},
        cost=0.00149,
    )


def _look_up_order(session: _Session, parent_id: str) -> Event:
    return session.step(
        "tool",
        "lookup_order",
        parent_id,
        940,
        1_300,
        inputs={"order_id": _ORDER},
        outputs={"status": "at depot", "depot": "Mill Lane", "title": "Rucksack 35 l"},
    )


def _check_address(session: _Session, parent_id: str) -> list[Event]:
    """
    Make a chain, behind its three tools: the first one times out.
    """
    given, place = {"address": _ADDRESS}, {"lat": 53.41, "lon": -2.99}
    chain = session.step(
        "chain", "agent/address", parent_id, 950, 2_400, inputs=given, outputs={"ok": True}
    )
    inside = str(chain.event_id)
    error = "TimeoutError: no answer within 1 s"
    zone = {"zone": "north-west", "served": True}
    return [
        session.step("tool", "geocode", inside, 960, 1_000, inputs=given, error=error),
        session.step("tool", "geocode", inside, 2_010, 640, inputs=given, outputs=place),
        session.step("tool", "delivery_zone", inside, 2_660, 680, inputs=place, outputs=zone),
        chain,
    ]


def _tool_call(name: str, arguments: str) -> dict[str, Any]:
    return {
        "id": f"call_{name}",
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }
