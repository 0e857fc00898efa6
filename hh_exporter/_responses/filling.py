"""
Fill the fields of an event from the response that it has.

What is recognised, by its shape alone, is one of the APIs'; everything else stays exactly as
it is. A field that is set already stays, but for the response, of which nothing is lost.
"""

from __future__ import annotations

from typing import Any, Final

from attrs import fields

from hh_exporter._outside import let_through
from hh_exporter._responses import anthropic, chat, gemini, responses
from hh_exporter._responses.chunks import members
from hh_exporter._responses.completion import (
    Completion,
    Json,
    present,
    pruned,
    reason_of,
    response_of,
)
from hh_exporter._values.legalize import legalize
from hh_exporter.events import ModelEvent

__all__ = ["fill", "fill_from", "filled", "with_members"]

_READERS: Final = {
    "choices": chat.read,
    "output": responses.read,
    "stop_reason": anthropic.read,
    "candidates": gemini.read,
    "promptFeedback": gemini.read,
}
"""By a member that each response of the API has."""

_NAMES: Final = frozenset(_READERS)

_BARE: Final = (type(None), str, int, float, bool, list, tuple, bytes)
"""Types of what no client returns."""


def filled(event: ModelEvent) -> ModelEvent:
    """
    Return *event*, or a copy that is filled if its response is an object of a client.
    """
    kind = type(event.response)
    if kind is dict or kind in _BARE:
        return event
    copy = ModelEvent(**{a.name: getattr(event, a.name) for a in fields(ModelEvent)})
    fill(copy)
    return copy


def fill(event: ModelEvent) -> None:
    """
    Take message, usage and the rest from the response of *event*, if one of the APIs made it.

    Never raises because of data.
    """
    response = event.response
    kind = type(response)
    try:
        if kind is dict:
            _fill_from(event, response)
        elif kind not in _BARE:
            _fill_from_object(event, response)
    except BaseException as exc:  # whatever an object's own code raises
        let_through(exc)


def fill_from(event: ModelEvent, whole: Json) -> None:
    """
    The same from *whole*, which becomes the response if *event* has none.
    """
    if event.response is None:
        event.response = whole
    try:
        _fill_from(event, whole)
    except BaseException as exc:
        let_through(exc)


def _fill_from(event: ModelEvent, whole: Any) -> None:
    if not _NAMES.isdisjoint(whole):
        for name, read in _READERS.items():
            if name in whole and (completion := read(whole)) is not None:
                _apply(event, whole, completion)
                return
    if event.usage is None and type(usage := whole.get("usage")) is dict:
        event.usage = usage


def _fill_from_object(event: ModelEvent, response: Any) -> None:
    held = members(response)
    if not _NAMES.isdisjoint(held):
        plain = legalize(response)
        if type(plain) is dict:
            event.response = plain
            _fill_from(event, plain)
            if event.response is plain:
                event.response = response
    elif event.usage is None and type(usage := legalize(held.get("usage"))) is dict:
        event.usage = usage


def _apply(event: ModelEvent, whole: Json, completion: Completion) -> None:
    choices = completion.choices
    if event.response is whole:
        event.response = response_of(choices)
    for name in ("usage", "error", "tools", "tool_choice", "hyperparameters"):
        if getattr(event, name) is None:
            setattr(event, name, getattr(completion, name))
    found = {
        "response_id": completion.id,
        "response_model": None if completion.model == event.model else completion.model,
        "finish_reason": reason_of(choices),
        **completion.others,
        **(choices[0].others if len(choices) == 1 else {}),
    }
    event.metadata = with_members(event.metadata, present(pruned(found)))


def with_members(payload: Any, added: Json) -> Any:
    """
    Copy *payload* with members that it has not; one that has no members stays as it is.
    """
    if payload is None or not added:
        return added or payload
    plain = payload if type(payload) is dict else legalize(payload)
    return {**added, **plain} if type(plain) is dict else payload
