"""
Make an event a record: the bytes that are queued, sent, sent again and kept.

An event is encoded once, at push, so what changes afterwards changes nothing.
The scalar fields are checked here; a payload is whatever orjson can say. orjson
never gets a `default`: Python code that runs inside it may change what it is
walking over, which crashes the interpreter.
"""

from __future__ import annotations

from math import isfinite
from numbers import Real
from operator import attrgetter
from typing import Any

import attrs
import orjson
from attrs import define

from hh_exporter._clock import Clock
from hh_exporter._dialect import Dialect
from hh_exporter._outcomes import DropReason
from hh_exporter._records import Record
from hh_exporter.events import ModelEvent

__all__ = ["Codec", "EncodeError"]

attrs.resolve_types(ModelEvent)
_FIELDS = frozenset(a.name for a in attrs.fields(ModelEvent)) - {"extra"}
_TEXTS = tuple(a.name for a in attrs.fields(ModelEvent) if a.type in (str, str | None))
_NUMBERS = tuple(a.name for a in attrs.fields(ModelEvent) if a.type == float | None)
_texts_of = attrgetter(*_TEXTS)
_numbers_of = attrgetter(*_NUMBERS)
_PLAIN_NUMBERS = (int, float)


class EncodeError(Exception):
    """
    An event could not become a record.

    Its text says what is wrong, fit for a log: fields and types, never values.

    Attributes:
        reason: What the event is dropped as.
    """

    def __init__(self, reason: DropReason, problem: str) -> None:
        super().__init__(problem)
        self.reason = reason


@define(eq=False, kw_only=True)
class Codec:
    """
    Turn events into records for one dialect.
    """

    dialect: Dialect
    clock: Clock
    project: str | None = None
    source: str | None = None
    max_bytes: int
    """Bytes of the largest record."""

    def encode(self, event: ModelEvent, event_id: str) -> Record:
        """
        Make the record of *event* as it is now, leaving the event as it is.

        Args:
            event: Anything; what is no ModelEvent is an error like others.
            event_id: The id under which it goes.

        Raises:
            EncodeError: The event can't be sent; its reason says why.
        """
        try:
            wire = self.dialect.unstructure(
                _check_scalars(event),
                event_id=event_id,
                now=self.clock.wall() * 1000,
                project=self.project,
                source=self.source,
            )
            raw = orjson.dumps(wire)
        except EncodeError:
            raise
        except Exception as exc:  # hostile payloads may raise anything while they are looked at
            raise EncodeError(
                DropReason.UNENCODABLE, f"a payload can't be encoded ({type(exc).__name__})"
            ) from None
        if len(raw) > self.max_bytes:
            raise EncodeError(
                DropReason.TOO_LARGE, f"encoded it would exceed {self.max_bytes} bytes"
            )
        # orjson leaves slack behind its bytes, three times their size while they wait in
        # the queue; bytes(raw) would return the same object.
        return Record(event_id, bytes(memoryview(raw)), self.clock.now())


def _check_scalars(event: ModelEvent) -> ModelEvent:
    """
    Check the types of the scalar fields.

    Returns:
        The event, or a copy without the numbers that JSON has no word for.
    """
    if not issubclass(type(event), ModelEvent):
        raise EncodeError(
            DropReason.INVALID, f"push takes a ModelEvent, not a {type(event).__name__}"
        )
    if event.extra is not None:
        _check_extra(event.extra)
    return event if _is_plain(event) else _settle_scalars(event)


def _is_plain(event: ModelEvent) -> bool:
    """
    Whether all scalar fields are what JSON has words for: the case that must be fast.
    """
    for text in _texts_of(event):
        if text is not None and type(text) is not str:
            return False
    for number in _numbers_of(event):
        if number is not None and not (type(number) in _PLAIN_NUMBERS and isfinite(number)):
            return False
    return event.model is not None


def _settle_scalars(event: ModelEvent) -> ModelEvent:
    """
    Check each field by itself, and bring its number to what JSON can say.
    """
    for name in _TEXTS:
        text = getattr(event, name)
        if not isinstance(text, str) and (text is not None or name == "model"):
            raise _wrong_type(name, "a string", text)
    changes: dict[str, Any] = {}
    for name in _NUMBERS:
        number = getattr(event, name)
        if number is None or type(number) is int:
            continue
        if not isinstance(number, Real) or isinstance(number, bool):
            raise _wrong_type(name, "a number", number)
        changes[name] = float(number) if isfinite(number) else None
    return attrs.evolve(event, **changes)


def _check_extra(extra: object) -> None:
    if not isinstance(extra, dict):
        raise _wrong_type("extra", "a dict", extra)
    if not _FIELDS.isdisjoint(extra):
        raise EncodeError(
            DropReason.INVALID, "extra: must not name a key that is a field of its own"
        )


def _wrong_type(field: str, shape: str, value: object) -> EncodeError:
    return EncodeError(
        DropReason.INVALID, f"{field}: must be {shape}, not a {type(value).__name__}"
    )
