"""
What may leave the process: the user's hook, and fields that are never sent.

It fails closed: if the hook raises, or returns something other than an event, nothing
of the event is sent. Fields are hidden after the hook, whatever it put there.
"""

from __future__ import annotations

from types import CoroutineType
from typing import Any, Final, TypeVar

import attrs
from attrs import define, field

from hh_exporter._encoding.scalars import copy_fields
from hh_exporter._outcomes import DropReason
from hh_exporter._outside import let_through
from hh_exporter._settings.hooks import BeforeSend
from hh_exporter._values.legalize import legalize
from hh_exporter.events import Event, EventUpdate, ModelEvent, SessionProperties
from hh_exporter.exceptions import EncodeError

__all__ = ["Privacy"]

T = TypeVar("T", bound=ModelEvent | Event | EventUpdate | SessionProperties)

_CLASSES = (ModelEvent, Event, EventUpdate, SessionProperties)

_INPUTS = frozenset({"messages", "template", "template_inputs", "tools", "inputs"})
_REPEATED = frozenset(
    {
        *("conversation", "documents", "extra_body", "extra_headers", "functions", "input"),
        *("instruction", "instructions", "messages", "metadata", "prediction", "prompt"),
        *("prompt_cache_key", "query", "safety_identifier", "stop", "stop_sequences", "suffix"),
        *("system", "system_instruction", "tools", "user", "web_search_options"),
    }
)
"""Hyperparameters in which providers take inputs, or the name of a user."""
_OUTPUTS = frozenset({"response", "outputs"})
_FREE = frozenset({"metadata", "extra"})
"""Fields that may repeat inputs or outputs."""


@define(eq=False, kw_only=True)
class Privacy:
    """
    The rules of one exporter.
    """

    before_send: BeforeSend | None = field(default=None, repr=False)
    hide_inputs: bool = False
    hide_outputs: bool = False
    hides: bool = field(init=False)
    """Whether any field is never sent."""
    _hidden: frozenset[str] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.hides = self.hide_inputs or self.hide_outputs
        self._hidden = frozenset().union(
            _INPUTS if self.hide_inputs else (),
            _OUTPUTS if self.hide_outputs else (),
            _FREE if self.hides else (),
        )

    def call(self, draft: T) -> T:
        """
        Have the hook look at *draft*, which is its own to change.

        Raises:
            EncodeError: It must not be sent.
        """
        assert self.before_send is not None  # noqa: S101
        try:
            result = self.before_send(draft)
        except BaseException as exc:  # its own, whatever it is: nothing awaits in there
            let_through(exc)
            # Its type alone: the text may quote what is to be hidden.
            raise _failed(f"raised {type(exc).__name__}", draft) from None
        if result is None:
            raise EncodeError(DropReason.FILTERED, "before_send returned None")
        if type(result) is CoroutineType:
            result.close()  # or Python warns that nobody awaited it
        if not issubclass(type(result), type(draft)):
            raise _failed(f"returned a {type(result).__name__}", draft)
        return result  # type: ignore[no-any-return]

    def hide(self, instance: T) -> T:
        """
        Copy *instance* without what is never sent.
        """
        cls: Any = next(c for c in _CLASSES if issubclass(type(instance), c))
        hidden = self._hidden.intersection(a.name for a in attrs.fields(cls))
        changes: dict[str, Any] = dict.fromkeys(hidden)
        for name, reduce in _REDUCED.items() if self.hide_inputs else ():
            value = getattr(instance, name, None)
            if value is not None:
                changes[name] = reduce(value)
        copy: T = copy_fields(cls, instance, changes)
        return copy


def _without_inputs(hyperparameters: object) -> Any:
    plain = legalize(hyperparameters)
    if type(plain) is not dict:
        return None  # of no shape in which their names could be told
    return {name: value for name, value in plain.items() if name not in _REPEATED}


def _without_asked(config: object) -> Any:
    """
    Leave out of a config what a ModelEvent has fields of its own for, and events have there.
    """
    plain = legalize(config)
    if type(plain) is not dict:
        return None
    left = {name: value for name, value in plain.items() if name not in _INPUTS | _REPEATED}
    if "hyperparameters" in left:
        left["hyperparameters"] = _without_inputs(left["hyperparameters"])
    return left


_REDUCED: Final = {"hyperparameters": _without_inputs, "config": _without_asked}
"""Fields in which inputs may be, among others, and what makes them without."""


def _failed(what: str, draft: object) -> EncodeError:
    return EncodeError(DropReason.HOOK_FAILED, f"before_send {what} for a {type(draft).__name__}")
