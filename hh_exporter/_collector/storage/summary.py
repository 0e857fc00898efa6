"""
Summaries: the columns of an event that lists show, read from whatever was sent.

No value is trusted: one of a wrong type counts as missing, and all are cut to what
fits a table of a thousand rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from attrs import astuple, fields, frozen

__all__ = ["COLUMNS", "MAX_TEXT", "NARROW", "Summary", "short", "summarize", "user_of"]

MAX_TEXT: Final = 200
"""Characters of a text, at most."""

_MAX_ERROR = 500
_MAX_NUMBER = 2**53  # what JavaScript can count to, and SQLite can add up
_DIGEST = 32

Json: TypeAlias = Mapping[str, Any]

_NOTHING: Final[Json] = MappingProxyType({})


@frozen
class Summary:
    """
    What is read from an event as it was sent; None where it doesn't say.
    """

    start: float | None
    """When it began, in Unix milliseconds."""
    name: str | None
    type: str
    model: str | None
    provider: str | None
    source: str | None
    tokens_in: int | None
    tokens_out: int | None
    cost: float | None
    """In USD."""
    duration: float | None
    """In milliseconds."""
    error: str | None
    """Why it failed, or "cancelled", which the exporter writes and no list counts as an error."""
    parent_id: str | None
    """The event or the session that led to it, shortened as ids are."""
    user: str | None
    """Whose program it came from: an id, an address or a name."""
    time_to_first_token: float | None
    """In milliseconds."""
    rating: float | None
    """What people think of it: from 1 to 5 if they said it on the collector's page."""
    note: str | None
    """The same in words."""

    def columns(self) -> tuple[object, ...]:
        """
        List the values in the order of COLUMNS.
        """
        return astuple(self, recurse=False)


COLUMNS: Final = tuple(field.name for field in fields(Summary))

NARROW: Final = ("id", "time", "event_id", "session_id", *COLUMNS, "path", "size")
"""The columns of an event's narrow row."""


def short(name: str) -> str:
    """
    Make what *name* is known by: itself, or if it is long its beginning and a digest of it.
    """
    if len(name) <= MAX_TEXT:
        return name
    digest = sha256(name.encode()).hexdigest()[:_DIGEST]
    return f"{name[: MAX_TEXT - _DIGEST - 1]}~{digest}"


def summarize(event: Json) -> Summary:
    """
    Read the summary of *event*, in either dialect.

    A v1 event has what it says of a model in one of two places: where the
    legacy route puts it (`inputs`), or where the API's examples have it
    (`config` and `metadata`); the vendor's daemon has all of it in `metadata`.
    """
    config, inputs, metadata = (_object(event, name) for name in ("config", "inputs", "metadata"))
    feedback = _object(event, "feedback")
    usages = (_object(event, "usage"), _object(inputs, "usage"), metadata)
    duration = _number(event.get("duration"), inputs.get("duration"))
    end = _number(event.get("end_time"))
    start = _number(event.get("start_time"))
    if start is None and end is not None and duration is not None:
        start = end - duration
    return Summary(
        start,
        _text(event.get("event_name")),
        _text(event.get("event_type")) or "model",
        _text(
            event.get("model"),
            event.get("model_name"),
            config.get("model"),
            config.get("model_name"),
            inputs.get("model_name"),
            metadata.get("model"),
        ),
        _text(
            event.get("provider"),
            config.get("provider"),
            inputs.get("provider"),
            metadata.get("provider"),
        ),
        _text(event.get("source")),
        _tokens(usages, "prompt_tokens", "input_tokens", "prompt_token_count"),
        _tokens(usages, "completion_tokens", "output_tokens", "candidates_token_count"),
        _number(event.get("cost"), inputs.get("cost"), metadata.get("cost")),
        duration,
        _text(event.get("error"), inputs.get("error"), limit=_MAX_ERROR),
        short(parent) if type(parent := event.get("parent_id")) is str else None,
        user_of(event),
        _number(_object(event, "metrics").get("time_to_first_token")),
        _number(feedback.get("rating")),
        _text(feedback.get("note")),
    )


def user_of(event: Json) -> str | None:
    """
    Find whom the user properties of an event or a session name.
    """
    properties = _object(event, "user_properties")
    for name in ("user_id", "id", "email", "name"):
        value = properties.get(name)
        if type(value) is int:  # many databases count their users
            value = str(value)
        if (text := _text(value)) is not None:
            return text
    return None


def _object(parent: Json, name: str) -> Json:
    value = parent.get(name)
    return value if type(value) is dict else _NOTHING


def _text(*values: object, limit: int = MAX_TEXT) -> str | None:
    for value in values:
        if type(value) is str and value:
            return value[:limit]
    return None


def _number(*values: object) -> float | None:
    for value in values:
        # By type: a bool is no number. NaN compares as False.
        if (type(value) is float or type(value) is int) and -_MAX_NUMBER <= value <= _MAX_NUMBER:
            return value
    return None


def _tokens(usages: tuple[Json, ...], *names: str) -> int | None:
    for usage in usages:
        for name in names:
            count = _number(usage.get(name))
            if count is not None and count == int(count):
                return int(count)
    return None
