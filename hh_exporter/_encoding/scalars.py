"""
What is checked at push of an event or a session: its scalar fields, and `extra`.

A wrong type is an error that names field and type, never the value. Times and
durations of Python become milliseconds. Numbers that JSON can't represent count
as unset. All other fields take anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from math import isfinite
from numbers import Real
from typing import Any, Generic, TypeVar

import attrs
from attrs import define, field

from hh_exporter._outcomes import DropReason
from hh_exporter.exceptions import EncodeError

__all__ = ["Scalars", "copy_fields", "wrong_type"]

T = TypeVar("T")

_KINDS: dict[Any, tuple[tuple[type, ...], str]] = {
    float | Decimal | None: ((Real, Decimal), "a number"),
    float | datetime | None: ((Real, Decimal, datetime), "a number or a datetime"),
    float | timedelta | None: ((Real, Decimal, timedelta), "a number or a timedelta"),
}

_MAX = 2**63 - 1
"""The largest int that every JSON reader takes for one; larger numbers become floats."""


@define(eq=False)
class Scalars(Generic[T]):
    """
    What is to be checked of one of the classes of `hh_exporter.events`.
    """

    cls: type[T]
    required: str
    """The text field that must be set."""
    choices: Mapping[str, frozenset[str]] = field(factory=dict)
    """What texts may be, where they may not be any."""
    _names: frozenset[str] = field(init=False)
    _texts: tuple[str, ...] = field(init=False)
    _numbers: tuple[tuple[str, tuple[type, ...], str], ...] = field(init=False)
    """Of each number its name, the types that it may have, and what these are called."""

    def __attrs_post_init__(self) -> None:
        cls: Any = self.cls
        fields = attrs.fields(attrs.resolve_types(cls))
        self._names = frozenset(a.name for a in fields) - {"extra"}
        self._texts = tuple(a.name for a in fields if a.type in (str, str | None))
        self._numbers = tuple((a.name, *_KINDS[a.type]) for a in fields if a.type in _KINDS)

    def check(self, instance: T) -> T:
        """
        Check *instance*, which is left as it is.

        Returns:
            It, or a copy where scalars have to be brought to what JSON can say.

        Raises:
            EncodeError: A field has a wrong type, or the required one is not set.
        """
        extra: Any = getattr(instance, "extra", None)
        if extra is not None:
            self._check_extra(extra)
        changes = self._find_changes(instance)
        return copy_fields(self.cls, instance, changes) if changes else instance

    def _check_extra(self, extra: Any) -> None:
        if not issubclass(type(extra), dict):
            raise wrong_type("extra", "a dict", extra)
        if not dict.keys(extra).isdisjoint(self._names):
            raise EncodeError(
                DropReason.INVALID, "extra: must not name a key that is a field of its own"
            )

    def _find_changes(self, instance: T) -> dict[str, Any]:
        """
        Check each field by itself, and say which must be another text or number.
        """
        changes: dict[str, Any] = {}
        for name in self._texts:
            text = getattr(instance, name)
            if type(text) is str or (text is None and name != self.required):
                continue
            if not isinstance(text, str):
                raise wrong_type(name, "a string", text)
            changes[name] = str.__str__(text)  # its characters, whatever its class says of them
        for name, allowed in self.choices.items():
            if changes.get(name, getattr(instance, name)) not in allowed:
                raise EncodeError(
                    DropReason.INVALID, f"{name}: must be one of {', '.join(sorted(allowed))}"
                )
        for name, kinds, shape in self._numbers:
            number = getattr(instance, name)
            if number is None or _is_plain(number):
                continue
            if not isinstance(number, kinds) or isinstance(number, bool):
                raise wrong_type(name, shape, number)
            changes[name] = _to_plain(number)
        return changes


def copy_fields(cls: type[T], instance: T, changes: dict[str, Any]) -> T:
    """
    Make an instance of exactly *cls* with the fields of *instance*, but for *changes*.
    """
    fields = attrs.fields(cls)  # type: ignore[arg-type]
    return cls(**{a.name: getattr(instance, a.name) for a in fields} | changes)


def wrong_type(field: str, shape: str, value: object) -> EncodeError:
    return EncodeError(
        DropReason.INVALID, f"{field}: must be {shape}, not a {type(value).__name__}"
    )


def _is_plain(number: Any) -> bool:
    """
    Whether *number* is one that JSON can say and every reader of it understands.
    """
    if type(number) is int:
        return -_MAX <= number <= _MAX
    return type(number) is float and isfinite(number)


def _to_plain(number: Any) -> float | None:
    try:
        if isinstance(number, datetime):
            value = number.timestamp() * 1000
        elif isinstance(number, timedelta):
            value = number / timedelta(milliseconds=1)
        else:
            value = float(number)
    except (ArithmeticError, OSError, ValueError):  # as a signalling NaN, or local time in year 1
        return None
    return value if isfinite(value) else None
