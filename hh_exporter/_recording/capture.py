"""
The arguments and the result of a decorated function, as payloads of an event.

Costs little more than the dict that holds it: how a function takes its arguments is compiled
once, and nothing is encoded here. No method of a value is called, so none can break the call.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, Signature, signature
from typing import Any

from attrs import define, field

from hh_exporter._values.legalize import TOO_LARGE

__all__ = ["MAX_COPIED", "MAX_YIELDED", "Bind", "Yielded", "as_object", "list_all", "make_binder"]

Bind = Callable[..., dict[str, Any]]
"""Names the arguments of one call, by how the function takes them."""

MAX_COPIED = 1_000
"""Members of a list or dict that is copied when a call begins."""

MAX_YIELDED = 1_000_000
"""What is kept of what a generator yields: characters and bytes, and 100 for each item."""

_PER_ITEM = 100
_OWN = ("self", "cls")


def make_binder(function: Callable[..., Any]) -> Bind:
    """
    Make a function that names the arguments of a call of *function*, defaults included.

    It takes what *function* takes, and raises TypeError where that would. The first parameter is
    left out if it is `self` or `cls`. Lists and dicts are copied, and so are those directly in
    them: what the function changes there is not taken for what it was given.
    """
    try:
        parameters = list(signature(function).parameters.values())
    except (TypeError, ValueError):  # a builtin that does not say
        return list_all
    scope: dict[str, Any] = {"_copy_": _copy, "_mutable_": _MUTABLE, "_type_": type}
    named = []
    for number, parameter in enumerate(parameters):
        name = parameter.name
        if parameter.default is not Parameter.empty:
            scope[f"_default_{number}"] = parameter.default
        if number or name not in _OWN or parameter.kind is Parameter.VAR_POSITIONAL:
            named.append(f"{name!r}: _copy_({name}) if _type_({name}) in _mutable_ else {name}")
    taken = Signature([_without_values(number, one) for number, one in enumerate(parameters)])
    exec(f"def bind{taken}: return {{{', '.join(named)}}}", scope)  # noqa: S102
    bind: Bind = scope["bind"]
    return bind


def list_all(*args: Any, **kwargs: Any) -> dict[str, Any]:
    """
    Take any arguments, as those do that don't fit the function that was called.
    """
    return {"args": _copy(list(args)), "kwargs": _copy(kwargs)}


def _without_values(number: int, parameter: Parameter) -> Parameter:
    """
    Copy *parameter* so that it is written as source: with the name of its default.
    """
    has_default = parameter.default is not Parameter.empty
    default = _Name(f"_default_{number}") if has_default else Parameter.empty
    return parameter.replace(annotation=Parameter.empty, default=default)


class _Name(str):
    __slots__ = ()

    __repr__ = str.__str__


_MUTABLE = frozenset({list, dict, tuple})
"""What is copied; a tuple for what it may hold."""


def _copy(value: Any) -> Any:
    if type(value) is dict:
        if len(value) > MAX_COPIED:
            return value
        copy = value.copy()
        for name, member in copy.items():
            if type(member) in _MUTABLE and len(member) <= MAX_COPIED:
                copy[name] = member[:] if type(member) is not dict else member.copy()
        return copy
    if len(value) > MAX_COPIED:
        return value
    return [
        member.copy()
        if (type(member) is dict or type(member) is list) and len(member) <= MAX_COPIED
        else member
        for member in value
    ]


def as_object(result: object) -> Any:
    """
    Make *result* an object: a dict as it is, anything else as `{"result": …}`.
    """
    return result if issubclass(type(result), dict) else {"result": result}


@define(eq=False)
class Yielded:
    """
    What a generator has yielded so far, until there is no room for more.
    """

    items: list[Any] = field(factory=list)
    """Ends with a marker once something was left out."""
    _room: int = MAX_YIELDED

    def add(self, item: object) -> None:
        """
        Keep *item*, or note that it was left out.
        """
        if self._room < 0:
            return
        self._room -= _PER_ITEM + _weigh(item)
        self.items.append(item if self._room >= 0 else TOO_LARGE)


def _weigh(item: Any) -> int:
    """
    Say how much text there is in *item*, at a glance: its own, or that directly in it.
    """
    kind = type(item)
    if kind is str or kind is bytes:
        return len(item)
    if kind is dict:
        return sum(len(value) for value in list(item.values()) if type(value) is str)
    if kind is list or kind is tuple:
        return sum(len(value) for value in item if type(value) is str)
    return 0
