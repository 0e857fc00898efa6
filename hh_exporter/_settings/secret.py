"""
Keys and passwords, kept so that nobody sees them by accident.

Error reporters keep the locals of frames, and show texts as they are: a key is no text but
where it is sent.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, NoReturn, TypeVar

from hh_exporter.exceptions import ConfigError

__all__ = ["Secret", "discreet", "hidden"]

T = TypeVar("T")


class Secret:
    """
    A text that `reveal` alone shows: no repr, no format, no attribute.
    """

    __slots__ = ("_read",)

    def __init__(self, text: str) -> None:
        self._read: Callable[[], str] = lambda: text

    def reveal(self) -> str:
        return self._read()

    def __repr__(self) -> str:
        return "<secret>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self.reveal() == other.reveal()

    def __hash__(self) -> int:
        return hash(self.reveal())

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret can't be pickled")


def hidden(text: str | Secret | None) -> Secret | None:
    """
    Hide *text*; what is hidden already, or not there, stays as it is.
    """
    return Secret(text) if isinstance(text, str) else text


def discreet(cls: type[T]) -> type[T]:
    """
    Have the constructor of *cls* raise without the frames that hold its arguments.
    """
    make: Callable[..., None] = cls.__init__

    @wraps(make)
    def init(self: T, *args: Any, **kwargs: Any) -> None:
        kind: type[Exception]
        try:
            make(self, *args, **kwargs)
        except (ConfigError, TypeError) as exc:
            kind, problem = type(exc), str(exc)
        else:
            return
        del self, args, kwargs
        raise kind(problem)

    setattr(cls, "__init__", init)  # noqa: B010 - no type checker follows that
    return cls
