"""
The scalar fields of an event or a session: the only ones that are checked at push.

A wrong type is an error that names field and type, never the value. Numbers
that JSON has no word for count as unset.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from numbers import Real
from operator import attrgetter
from typing import Any, Generic, TypeVar

import attrs
from attrs import define, field

from hh_exporter._outcomes import DropReason
from hh_exporter.exceptions import EncodeError

__all__ = ["Scalars", "copy_fields", "wrong_type"]

T = TypeVar("T")

_PLAIN_NUMBERS = (int, float)
_MAX = 2**63 - 1
"""Up to here every int is one to every JSON reader; larger numbers take the longer way."""


@define(eq=False)
class Scalars(Generic[T]):
    """
    What is to be checked of one of the classes of `hh_exporter.events`.
    """

    cls: type[T]
    required: str
    """The text field that must be set."""
    names: frozenset[str] = field(init=False)
    _texts: tuple[str, ...] = field(init=False)
    _numbers: tuple[str, ...] = field(init=False)
    _texts_of: Callable[[T], tuple[Any, ...]] = field(init=False)
    _numbers_of: Callable[[T], Any] = field(init=False)

    def __attrs_post_init__(self) -> None:
        cls: Any = self.cls
        fields = attrs.fields(attrs.resolve_types(cls))
        self._texts = tuple(a.name for a in fields if a.type in (str, str | None))
        self._numbers = tuple(a.name for a in fields if a.type == float | None)
        self.names = frozenset((*self._texts, *self._numbers))
        self._texts_of = attrgetter(*self._texts)
        self._numbers_of = attrgetter(*self._numbers)

    def check(self, instance: T) -> T:
        """
        Check all of *instance*, which is left as it is.

        Returns:
            It, or a copy where numbers have to be brought to what JSON can say.

        Raises:
            EncodeError: A field has a wrong type, or the required one is not set.
        """
        return instance if self._is_plain(instance) else self._settle(instance)

    def _is_plain(self, instance: T) -> bool:
        """
        Whether all is what JSON has words for: the case that must be fast.
        """
        for text in self._texts_of(instance):
            if text is not None and type(text) is not str:
                return False
        numbers = self._numbers_of(instance)
        for number in numbers if type(numbers) is tuple else (numbers,):
            if number is not None and not (
                type(number) in _PLAIN_NUMBERS and -_MAX <= number <= _MAX
            ):
                return False
        return getattr(instance, self.required) is not None

    def _settle(self, instance: T) -> T:
        """
        Check each field by itself, and bring its number to what JSON can say.
        """
        for name in self._texts:
            text = getattr(instance, name)
            if not isinstance(text, str) and (text is not None or name == self.required):
                raise wrong_type(name, "a string", text)
        changes: dict[str, Any] = {}
        for name in self._numbers:
            number = getattr(instance, name)
            if number is None:
                continue
            if not isinstance(number, Real) or isinstance(number, bool):
                raise wrong_type(name, "a number", number)
            changes[name] = _to_plain(number)
        return copy_fields(self.cls, instance, changes)


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


def _to_plain(number: Any) -> float | None:
    if type(number) is int and -_MAX <= number <= _MAX:
        return number
    try:
        value = float(number)
    except OverflowError:
        return None
    return value if isfinite(value) else None
