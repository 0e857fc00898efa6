"""
The cattrs converter that dialects start from.

Strict when structuring: a value of a wrong type is an error that names its
field and never shows the value, null counts as unset, and a key that no field
has goes to `extra`. Payloads pass untouched in both directions: walking them
would cost several times their encoding.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from math import inf
from typing import Any, TypeVar

import attrs
from cattrs import BaseValidationError, Converter
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from hh_exporter.events import (
    AnyEvent,
    CreateModelEventBatchRequestBody,
    CreateModelEventBatchResponseBody,
    CreateModelEventRequestBody,
    CreateModelEventResponseBody,
    Event,
    JsonArray,
    JsonObject,
    JsonObjects,
    JsonValue,
    ModelEvent,
    SessionProperties,
)
from hh_exporter.exceptions import EventError

__all__ = ["make_converter", "present_fields"]

T = TypeVar("T")

_BODIES = (
    CreateModelEventRequestBody,
    CreateModelEventBatchRequestBody,
    CreateModelEventResponseBody,
    CreateModelEventBatchResponseBody,
)
_STRUCTURED = (ModelEvent, Event, SessionProperties, *_BODIES)


def make_converter(
    unstructure_event: Callable[[AnyEvent], dict[str, Any]],
    unstructure_session: Callable[[SessionProperties], dict[str, Any]],
) -> Converter:
    """
    Make a converter for the classes of `hh_exporter.events`.

    Events and sessions leave through the functions given, all else by the names
    of its fields. Structuring goes by those names too, and raises `EventError`.
    """
    converter = Converter(detailed_validation=True)
    for kind, (fits, shape) in _SHAPES.items():
        _register_shape(converter, kind, fits, shape)

    converter.register_structure_hook_func(lambda t: bool(t == list[str]), _check_texts)
    converter.register_unstructure_hook(ModelEvent, unstructure_event)
    converter.register_unstructure_hook(Event, unstructure_event)
    converter.register_unstructure_hook(SessionProperties, unstructure_session)

    # Made when first used, since making them is most of what a converter costs: an exporter
    # structures nothing.
    @converter.register_structure_hook_factory(lambda t: t in _STRUCTURED)
    def structure(cls: type[Any], converter: Converter) -> Callable[[Any, Any], Any]:
        attrs.resolve_types(cls)
        return _make_structure(cls, converter)

    @converter.register_unstructure_hook_factory(lambda t: t in _BODIES)
    def unstructure(cls: type[Any], converter: Converter) -> Callable[[Any], dict[str, Any]]:
        attrs.resolve_types(cls)
        return make_dict_unstructure_fn(cls, converter, _cattrs_omit_if_default=True)

    return converter


def present_fields(
    cls: type[Any],
    names: Collection[str] | None = None,
    *,
    fill: Mapping[str, Any] | None = None,
    fit: Callable[[str, Any], Any] | None = None,
) -> Callable[[Any], dict[str, Any]]:
    """
    Make a function that lists the set fields of an instance of *cls*.

    It compares with None by identity, so that no payload's `__eq__` runs, and
    raises TypeError at a text or a number that is not plain: checking them on
    the way costs half of what looking at them twice does.

    Args:
        cls: One of the classes of `hh_exporter.events`.
        names: The fields to look at; without it all but `extra`.
        fill: What stands for a field that is not set, made anew each time.
        fit:
            Called with name and value of each array, and of what is not of the
            type that its field is for; what it returns is listed instead.
    """
    attrs.resolve_types(cls)
    # Written out, as attrs writes its own methods: a loop costs three times as much, at each push.
    lines = ["def find_present(instance):", " found = {}"]
    for attribute in attrs.fields(cls):
        name = attribute.name
        if name == "extra" if names is None else name not in names:
            continue
        value = _LISTED.get(attribute.type, "value")
        if fit is not None:
            value = _FITTED.get(attribute.type, value).format(name)
        lines.append(f" value = instance.{name}")
        if fill and name in fill:
            lines.append(f" found[{name!r}] = {fill[name]!r} if value is None else {value}")
        elif attribute.type is str:
            lines.append(f" found[{name!r}] = {value}")  # one that must be set
        else:
            lines.append(f" if value is not None: found[{name!r}] = {value}")
    scope: dict[str, Any] = {"fit": fit, "refuse": _refuse, "MAX": 2**63 - 1, "inf": inf}
    exec("\n".join([*lines, " return found"]), scope)  # noqa: S102
    find_present: Callable[[Any], dict[str, Any]] = scope["find_present"]
    return find_present


_NUMBERS: tuple[Any, ...] = (
    float | Decimal | None,
    float | datetime | None,
    float | timedelta | None,
)
"""What is a number on the wire; in Python it may be something nearer."""

_LISTED: dict[Any, str] = dict.fromkeys(
    (str, str | None), "value if type(value) is str else refuse(value)"
) | dict.fromkeys(
    _NUMBERS,
    "value if type(value) is float and -inf < value < inf "
    "or type(value) is int and -MAX <= value <= MAX else refuse(value)",
)
"""How a scalar is listed, which is what `Scalars.check` leaves as it is."""

_FITTED: dict[Any, str] = {
    JsonObject | None: "value if type(value) is dict else fit({!r}, value)",
    JsonValue | None: "value if type(value) is str else fit({!r}, value)",
    JsonArray | None: "fit({!r}, value)",
    JsonObjects | None: "fit({!r}, value)",
}


def _refuse(value: object) -> None:
    raise TypeError(f"a {type(value).__name__} is not a plain scalar")


def _is_objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


_SHAPES: dict[Any, tuple[Callable[[Any], bool], str]] = {
    str: (lambda v: isinstance(v, str), "a string"),
    **dict.fromkeys(
        _NUMBERS,
        (lambda v: isinstance(v, int | float) and not isinstance(v, bool), "a number"),
    ),
    bool: (lambda v: isinstance(v, bool), "true or false"),
    JsonObject: (lambda v: isinstance(v, dict), "an object"),
    JsonArray: (_is_objects, "an array of objects"),
    JsonObjects: (lambda v: isinstance(v, dict) or _is_objects(v), "an array of objects"),
    JsonValue: (lambda _: True, "any value"),
}


def _check_texts(value: Any, _: Any) -> Any:
    if not isinstance(value, list):
        raise EventError(None, "must be an array")
    for number, item in enumerate(value):
        if not isinstance(item, str):
            raise EventError(f"[{number}]", "must be a string")
    return value


def _register_shape(
    converter: Converter, kind: Any, fits: Callable[[Any], bool], shape: str
) -> None:
    def check(value: Any, _: Any) -> Any:
        if not fits(value):
            raise EventError(None, f"must be {shape}")
        return value

    if isinstance(kind, type):
        converter.register_structure_hook(kind, check)
    else:
        converter.register_structure_hook_func(lambda t: bool(t == kind), check)


def _make_structure(cls: type[T], converter: Converter) -> Callable[[Any, Any], T]:
    """
    Make a hook that structures a JSON object into *cls* and adds nothing to it.
    """
    attributes = {a.name: a for a in attrs.fields(cls)}  # type: ignore[arg-type]
    has_extra = attributes.pop("extra", None) is not None
    unminted = dict.fromkeys(
        n for n, a in attributes.items() if a.default not in (None, attrs.NOTHING)
    )
    build = make_dict_structure_fn(cls, converter, extra=override(omit=True))

    def structure(value: Any, _: Any) -> T:
        if not isinstance(value, dict):
            raise EventError(None, "must be an object")
        known = {n: v for n, v in value.items() if n in attributes and v is not None}
        extra = {n: v for n, v in value.items() if n not in attributes}
        if extra and not has_extra:
            raise EventError(next(iter(extra)), "is not a known key")
        try:
            instance = build(unminted | known, cls)
        except BaseValidationError as exc:
            raise _first_error(exc) from None
        if extra:
            instance.extra = extra  # type: ignore[attr-defined]
        return instance

    return structure


def _first_error(exc: BaseException) -> EventError:
    """
    Name the first value that did not fit, by its path in the body.
    """
    path = ""
    while isinstance(exc, BaseValidationError):
        exc = exc.exceptions[0]
        for note in getattr(exc, "__notes__", ()):
            path += _step(note)
    match exc:
        case EventError():
            dot = "." if path and exc.field and exc.field[0] != "[" else ""
            return EventError(f"{path}{dot}{exc.field or ''}" or None, exc.problem)
        case KeyError():
            return EventError(path, "is missing")
        case _:
            return EventError(path, "must be an array")


def _step(note: Any) -> str:
    """
    Say what a note of cattrs adds to a path: a field's name or an index.
    """
    if hasattr(note, "name"):
        return str(note.name)
    return f"[{note.index}]" if hasattr(note, "index") else ""
