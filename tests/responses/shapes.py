"""
Responses of the four APIs, as their servers and their clients have them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict

from hh_exporter import Exporter

__all__ = ["Hook", "Json", "as_objects", "record", "sent_by", "stream"]

Json = dict[str, Any]

_FREE = ("args", "input", "parameters")
"""What models and users make up is a dict in the clients' objects, too."""


class ClientObject(BaseModel):
    """
    An object of a client: it has fields that the API left out, and keeps what it doesn't know.
    """

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    id: Any = None
    text: Any = None
    index: Any = None
    choices: Any = None
    candidates: Any = None
    thought: Any = None
    refusal: Any = None


def as_objects(data: Any) -> Any:
    """
    Make of parsed JSON what a client would return.
    """
    match data:
        case dict():
            return ClientObject(**{n: v if n in _FREE else as_objects(v) for n, v in data.items()})
        case list():
            return [as_objects(item) for item in data]
        case _:
            return data


def record(exporter: Exporter, response: Any, **fields: Any) -> Any:
    """
    Record a call with *response*, and return the event that is sent.
    """
    with exporter.record(**{"model": "a-model"} | fields) as call:
        call.response = response
    return sent_by(exporter)


def stream(exporter: Exporter, chunks: Iterable[Any], **fields: Any) -> Any:
    """
    Record a call that reads *chunks* to their end.
    """
    with exporter.record(**{"model": "a-model"} | fields) as call:
        for _ in call.stream(chunks):
            pass
    assert call.error is None
    assert "stream" not in (call.metadata or {})
    return sent_by(exporter)


def sent_by(exporter: Exporter) -> Any:
    """
    Return the last event that *exporter*, which is of the fixture of this folder, has sent.
    """
    hook: Any = exporter._settings.before_send
    return hook.sent[-1]


class Hook:
    """
    A `before_send` that keeps events instead of sending them.
    """

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def __call__(self, event: Any) -> None:
        self.sent.append(event)
