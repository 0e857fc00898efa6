"""
The fields of an event, asked of a block that was not entered: an error that says what to write.

Costs nothing where a block is entered.
"""

from __future__ import annotations

from typing import Any, Final, NoReturn

from attrs import fields, frozen

__all__ = ["explain"]

_USUAL_NAMES: Final = {"trace": "step", "record": "call", "session": "session"}


def explain(blocks: type, *yielded: type, call: str = "") -> None:
    """
    Give the class *blocks* an error for each field of what its blocks yield.

    Args:
        blocks: The class of a context manager.
        yielded: The classes of what it yields.
        call: What the user calls to make one; empty if its `_call` says that.
    """
    for cls in yielded:
        for name in (*(a.name for a in fields(cls)), "stream"):
            if name not in vars(blocks):
                setattr(blocks, name, _Unentered(name, call))


@frozen
class _Unentered:
    """
    One field.
    """

    _name: str
    _call: str

    def __get__(self, block: Any, owner: type) -> NoReturn:
        self._refuse(block)

    def __set__(self, block: Any, value: object) -> NoReturn:
        self._refuse(block)

    def _refuse(self, block: Any) -> NoReturn:
        call = self._call or getattr(block, "_call", "trace")
        usual = _USUAL_NAMES[call]
        raise AttributeError(
            f"{self._name!r} is not here: write `with exporter.{call}(…) as {usual}:`, "
            f"and {usual}.{self._name} inside"
        )
