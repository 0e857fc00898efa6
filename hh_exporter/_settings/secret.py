"""
The API key, kept so that nobody sees it by accident.

Error reporters keep the locals of frames, and show texts as they are: a key is no text but
where a request's header is made.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

__all__ = ["Secret", "hidden"]


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
