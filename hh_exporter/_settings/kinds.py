"""
Which values a setting may have.

One `Kind` checks an argument and an environment variable alike; an error names the
setting and its range, never a secret.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from math import inf
from sys import float_info
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

from attrs import Attribute, frozen

from hh_exporter.exceptions import ConfigError

__all__ = [
    "Kind",
    "choice",
    "factor",
    "flag",
    "is_address",
    "seconds",
    "share",
    "text",
    "whole",
]

T = TypeVar("T")


@frozen
class Kind(Generic[T]):
    """
    The values that a setting may have; an attrs validator.
    """

    shape: str
    """Such as "a whole number from 1"; follows "must be"."""
    fits: Callable[[Any], bool]
    parse: Callable[[str], T] | None = None
    """Make a value of a text, or raise ValueError; None if it has no form as text."""
    secret: bool = False

    def __call__(self, owner: object, attribute: Attribute[T], value: Any) -> None:
        self.check(attribute.name, value)

    def check(self, name: str, value: Any) -> None:
        """
        Raise ConfigError unless *value* fits, calling the setting *name*.
        """
        if not self.fits(value):
            shown = "" if self.secret else f", not {value!r}"
            raise ConfigError(f"{name} must be {self.shape}{shown}")

    def read(self, name: str, text: str) -> T:
        """
        Read *text*, the value of the environment variable *name*.
        """
        assert self.parse is not None  # noqa: S101
        try:
            value = self.parse(text.strip())
        except ValueError:
            shown = "" if self.secret else f", not {text!r}"
            raise ConfigError(f"{name} must be {self.shape}{shown}") from None
        self.check(name, value)
        return value


def whole(minimum: int, maximum: float = inf, unit: str = "") -> Kind[int]:
    """
    A whole number between two bounds, both included.
    """
    upper = f" to {maximum}" if maximum < inf else ""
    return Kind(
        f"a whole number{unit and f' of {unit}'} from {minimum}{upper}",
        lambda v: isinstance(v, int) and not isinstance(v, bool) and minimum <= v <= maximum,
        int,
    )


def seconds(*, zero: bool = False) -> Kind[float]:
    """
    A finite duration.
    """
    if zero:
        return Kind("a number of seconds from 0", lambda v: _is_finite(v) and v >= 0, float)
    return Kind("a number of seconds above 0", lambda v: _is_finite(v) and v > 0, float)


def factor() -> Kind[float]:
    """
    A number that does not shrink what it multiplies.
    """
    return Kind("a number from 1", lambda v: _is_finite(v) and v >= 1, float)


def share() -> Kind[float]:
    """
    A part of the whole.
    """
    return Kind("a number from 0 to 1", lambda v: _is_finite(v) and 0 <= v <= 1, float)


def _is_finite(value: object) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and abs(value) <= float_info.max  # isfinite() can't look at a larger int
    )


def choice(*words: str) -> Kind[Any]:
    """
    One of a few words.
    """
    return Kind(" or ".join(f'"{word}"' for word in words), lambda v: v in words, str)


def flag() -> Kind[bool]:
    """
    True or False; 1, true, yes, on and their opposites in the environment.
    """
    words = dict.fromkeys(("1", "true", "yes", "on"), True)
    words |= dict.fromkeys(("0", "false", "no", "off"), False)

    def parse(text: str) -> bool:
        try:
            return words[text.lower()]
        except KeyError:
            raise ValueError from None

    return Kind("true or false", lambda v: isinstance(v, bool), parse)


def is_address(value: Any, *schemes: str) -> bool:
    """
    Whether *value* is an address of a server, and nothing but: no user, no password, no query.
    """
    try:
        url = urlsplit(value)
        port = url.port
    except (ValueError, AttributeError, TypeError):
        return False
    return (
        isinstance(value, str)
        and url.scheme in schemes
        and bool(url.hostname)
        and port != 0
        and not (url.username or url.password or url.query or url.fragment)
        and not re.search(r"\s", value)
    )


def text() -> Kind[str]:
    """
    Any text that is not blank.
    """
    return Kind("a text", lambda v: isinstance(v, str) and bool(v.strip()), str)
