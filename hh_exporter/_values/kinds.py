"""
What each kind of value becomes on its way to plain JSON data, one step at a time.

The type that counts is type(x), never what x says of itself, and its members are read by
the type's C code where there is any: code of the value's own runs only where nothing else
can know what it holds. No text comes from repr(), nor from str() of an object of
a type that is not named here.
"""

from __future__ import annotations

import dataclasses
import ipaddress as ip
import json
import re
from array import array
from collections import OrderedDict, UserDict, UserList, UserString, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from functools import partial
from itertools import islice
from pathlib import PurePath
from types import MappingProxyType
from typing import Any, TypeAlias
from uuid import UUID
from zoneinfo import ZoneInfo

from hh_exporter._outside import let_through

__all__ = [
    "CONTAINERS",
    "LIST",
    "MAX_INT",
    "MIN_INT",
    "Converter",
    "Pairs",
    "find_converter",
    "legal_text",
    "marker",
    "name_of",
    "pairs_of",
    "step",
]

MIN_INT, MAX_INT = -(2**63), 2**64 - 1
_MAX_BITS = 2048  # of an int with digits: fewer than any sys.set_int_max_str_digits allows
_MAX_NAME = 100  # characters of a type's name
_MAX_STEPS = 8  # from a value to plain data, as from an enum's member by numpy to an int
_MAX_COPIES = 5

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")

# A metaclass may answer for its classes; these look at the class itself.
_name_of = type.__dict__["__name__"].__get__
_module_of = type.__dict__["__module__"].__get__
_mro_of = type.__dict__["__mro__"].__get__
_dict_of = type.__dict__["__dict__"].__get__
_read = object.__getattribute__

Converter: TypeAlias = Callable[[Any, int], Any]
"""From a value, and how many of its members fit, to something nearer to plain data."""

Finder: TypeAlias = Callable[[type], Converter | None]


class Pairs(list[tuple[Any, Any]]):
    """
    Members of a mapping or an object while their keys may be anything.
    """


def step(value: Any, limit: int, find: Finder | None = None) -> Any:
    """
    Bring *value* to a legal leaf, or to a container of any size that is still to be copied.

    A legal str comes back as itself. Of members made on the way there are at most limit + 1.
    """
    original = value
    for _ in range(_MAX_STEPS):
        kind = type(value)
        if kind is str:
            return legal_text(value)
        if kind is int and not MIN_INT <= value <= MAX_INT:
            return str(value) if value.bit_length() <= _MAX_BITS else marker(value)
        if id(kind) in _PLAIN:
            return value
        if (convert := (find or find_converter)(kind)) is None:
            break
        value = convert(value, limit)
        if type(value) is kind:  # no nearer, as with numpy's longdouble
            break
    return marker(original)


def legal_text(text: str) -> str:
    """
    Return *text* itself, or what it is without lone surrogates.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return _LONE_SURROGATE.sub("\ufffd", text)
    return text


def marker(value: object, size: int | None = None) -> str:
    name = str.__str__(_name_of(type(value)))[:_MAX_NAME]  # Python keeps surrogates out of it
    return f"<{name}>" if size is None else f"<{name}: {size}>"


def name_of(key: Any) -> str:
    """
    Name a member: text as it is, other scalars in JSON's words, the rest by a marker.
    """
    try:
        leaf = step(key, 0)
        if type(leaf) is str:
            return leaf
        return marker(key) if type(leaf) in CONTAINERS else json.dumps(leaf)
    except BaseException as exc:  # whatever the key's own code raises
        let_through(exc)
        return marker(key)


def _members(iterate: Callable[[Any], Iterable[Any]], value: Any, limit: int) -> list[Any]:
    """
    Copy at most limit + 1 members in one go, again when another thread changed them meanwhile.
    """
    for _ in range(_MAX_COPIES):
        members = iterate(value)
        if members is value:
            break
        with suppress(RuntimeError):
            return list(islice(members, limit + 1))
    raise TypeError("an iterator, which is the user's to consume, or changed all the time")


def _mapping(items: Callable[[Any], Iterable[Any]], value: Any, limit: int) -> Pairs:
    return Pairs(_members(items, value, limit))


pairs_of = partial(_mapping, dict.items)


def _set(iterate: Callable[[Any], Iterable[Any]], value: Any, limit: int) -> list[Any]:
    """
    Copy members of a set, in order where that takes no code of theirs.
    """
    members = _members(iterate, value, limit)
    if any(all(type(member) is kind for member in members) for kind in (str, int)):
        members.sort()
    return members


def _tuple(value: Any, limit: int) -> list[Any]:
    """
    Copy a tuple, a named one under the names of its fields.
    """
    members = _members(tuple.__iter__, value, limit)
    names = _declared(type(value), "_fields")
    is_named = type(names) is tuple and len(names) == tuple.__len__(value)
    return Pairs(zip(names, members, strict=False)) if is_named else members


def _array(value: Any, limit: int) -> Any:
    """
    Take numpy's array apart, row by row where it does not fit as a whole.
    """
    if value.ndim == 0:
        return value.item()
    rows = value[: limit + 1]
    return rows.tolist() if rows.size <= limit + 1 else list(rows)


def _record(fields: Iterable[Any], value: Any, limit: int) -> Pairs:
    """
    Read the fields that are set; one with a leading underscore is private, as to orjson.
    """
    names = [field.name for field in fields if not field.name.startswith("_")]
    pairs = Pairs()
    for name in names[: limit + 1]:
        with suppress(AttributeError):
            pairs.append((name, _read(value, name)))
    return pairs


def _model(value: Any, limit: int) -> Any:
    """
    Read what a model of pydantic 1 or 2 holds, past serializers, which may raise.
    """
    held = _mapping(dict.items, _read(value, "__dict__"), limit)
    if _declared(type(value), "__pydantic_root_model__"):
        return dict(held)["root"]
    for name in ("__pydantic_fields__", "model_fields"):  # since 2.10, and before
        fields = _declared(type(value), name)
        if type(fields) is dict:
            # Cached properties lie beside the fields; what is extra lies apart.
            held = Pairs(pair for pair in held if pair[0] in fields)
            held += _mapping(dict.items, _read(value, "__pydantic_extra__") or {}, limit)
            break
    else:
        fields = {n: f.field_info for n, f in _declared(type(value), "__fields__").items()}
    return Pairs(pair for pair in held if not getattr(fields.get(pair[0]), "exclude", None))


def _enum(value: Any, _: int) -> Any:
    """
    Take a member's value, or its name where the value is of no kind that we know.
    """
    inner = _read(value, "_value_")
    is_known = inner is None or find_converter(type(inner)) is not None
    return inner if is_known else _read(value, "_name_")


def _declared(kind: type, name: str) -> Any:
    for base in _mro_of(kind):
        if name in _dict_of(base):
            return _dict_of(base)[name]
    return None


def find_converter(kind: type) -> Converter | None:
    """
    Find how to convert instances of *kind*: by its bases, else by what declares its fields.
    """
    bases = _mro_of(kind)
    if any(base is Enum for base in bases):  # before the str or int that it may be as well
        return _enum
    for base in bases:
        if id(base) in _CONVERTERS:
            return _CONVERTERS[id(base)]
    if _declared(kind, "__dataclass_fields__") is not None:
        return lambda value, limit: _record(dataclasses.fields(kind), value, limit)
    if (fields := _declared(kind, "__attrs_attrs__")) is not None:
        return partial(_record, fields)
    for base in bases:
        if (_module_of(base), _name_of(base)) in _FOREIGN:
            return _FOREIGN[_module_of(base), _name_of(base)]
    return None


def _converters() -> Iterator[tuple[type, Converter]]:
    def alone(convert: Callable[[Any], Any]) -> Converter:
        return lambda value, _: convert(value)

    kind: Any
    version4 = ip.IPv4Address, ip.IPv4Interface, ip.IPv4Network
    version6 = ip.IPv6Address, ip.IPv6Interface, ip.IPv6Network
    for kind in (str, Decimal, UUID, PurePath, *version4, *version6):
        yield kind, alone(kind.__str__)
    yield int, alone(int.__int__)
    yield float, alone(float.__float__)
    yield complex, alone(complex.__repr__)
    yield Fraction, alone(lambda x: "/".join(map(name_of, x.as_integer_ratio())))
    yield re.Pattern, alone(lambda x: x.pattern)
    yield ZoneInfo, alone(ZoneInfo.__str__)
    yield timedelta, alone(timedelta.total_seconds)
    for kind in (date, time):  # and datetime
        yield kind, alone(lambda x: x.isoformat())
    for kind in (bytes, bytearray, memoryview):
        yield kind, alone(lambda x: marker(x, memoryview(x).nbytes))
    yield BaseException, alone(marker)  # also one that declares fields
    yield tuple, _tuple
    for kind in (set, frozenset):
        yield kind, partial(_set, kind.__iter__)
    for kind in (list, deque, range, array):
        yield kind, partial(_members, kind.__iter__)
    for kind in (type({}.keys()), type({}.values()), type({}.items()), Collection):
        yield kind, partial(_members, iter)
    for kind in (dict, OrderedDict):
        yield kind, partial(_mapping, kind.items)
    for kind in (Mapping, MappingProxyType):
        yield kind, partial(_mapping, lambda x: x.items())
    for kind in (UserDict, UserList, UserString):
        yield kind, alone(lambda x: _read(x, "data"))


CONTAINERS = (dict, list, Pairs)

# By id, as a metaclass may say that its classes equal others, or can't be hashed.
_PLAIN = frozenset(map(id, (int, float, bool, type(None), *CONTAINERS)))
_CONVERTERS = {id(kind): convert for kind, convert in _converters()}

LIST = _CONVERTERS[id(list)]
"""How a list of a class of its own is read; orjson takes these for lists too."""

# By name, as nobody need have them installed.
_FOREIGN: dict[tuple[str, str], Converter] = {
    ("numpy", "ndarray"): _array,
    ("numpy", "generic"): lambda x, _: x.item(),
    ("pydantic.main", "BaseModel"): _model,
    ("pydantic.v1.main", "BaseModel"): _model,
} | {
    (module, name): lambda x, _: str(x)  # each of these is a text that was taken apart
    for module, name in (
        ("httpx", "URL"),
        ("pydantic.networks", "NameEmail"),
        ("pydantic.networks", "_BaseMultiHostUrl"),
        ("pydantic.networks", "_BaseUrl"),
        ("pydantic_core._pydantic_core", "MultiHostUrl"),
        ("pydantic_core._pydantic_core", "Url"),
        ("starlette.datastructures", "URL"),
        ("yarl", "URL"),
        ("yarl._url", "URL"),
    )
}
