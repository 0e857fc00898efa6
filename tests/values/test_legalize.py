"""
Any value becomes plain JSON data: bounded, marked where something is missing, never an error.
"""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import io
import itertools
import math
import re
import sys
import threading
import tracemalloc
from array import array
from collections import (
    ChainMap,
    Counter,
    OrderedDict,
    UserDict,
    UserList,
    UserString,
    defaultdict,
    deque,
    namedtuple,
)
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from fractions import Fraction
from functools import cached_property
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import PurePosixPath
from time import struct_time
from types import MappingProxyType, SimpleNamespace
from typing import Any, NoReturn
from uuid import UUID
from zoneinfo import ZoneInfo

import attrs
import numpy as np
import orjson
import pydantic
import pytest
import yarl
from hypothesis import given, settings
from hypothesis import strategies as st

from hh_exporter._settings.batch import MAX_BODY_BYTES
from hh_exporter._values.legalize import (
    CYCLE,
    MAX_DEPTH,
    MAX_MEMBERS,
    MAX_ODD,
    TOO_DEEP,
    TOO_LARGE,
    _Walk,
    legalize,
    legalize_fields,
)
from tests.support import PATIENCE

PLAIN = (str, int, float, bool, type(None))
SECRET = "do not tell"


def check(result: object) -> tuple[int, int]:
    """
    Check that *result* is plain data that orjson takes.

    Returns:
        Its members, and its levels.
    """
    orjson.dumps(result)
    nodes, depth, level = 0, 0, [result]
    while level:
        containers = [v for v in level if type(v) in (dict, list)]
        assert all(type(v) in (dict, list, *PLAIN) for v in level)
        assert all(type(k) is str for v in containers if type(v) is dict for k in v)
        level = [
            m
            for c in containers
            for m in (c.values() if type(c) is dict else c)  # type: ignore[attr-defined]
        ]
        nodes += len(level)
        depth += bool(containers)
    return nodes, depth


def nested(levels: int, core: Any = None) -> Any:
    for _ in range(levels):
        core = [core]
    return core


# One of each kind


class Text(str):
    __slots__ = ()

    def __str__(self) -> str:
        return SECRET

    __repr__ = __str__


class Whole(int):
    pass


class Real(float):
    pass


class Colour(StrEnum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


class Odd(Enum):
    PAIR = (1, 2)
    NUMBER = np.int64(7)
    THING = object()
    NONE = None


class Shout(str, Enum):  # noqa: UP042
    LOUD = "loud"

    def __str__(self) -> str:
        raise ZeroDivisionError


Point = namedtuple("Point", "x y")


@dataclasses.dataclass
class Data:
    name: Any
    _private: str = SECRET
    unset: int = dataclasses.field(init=False)


@dataclasses.dataclass(slots=True, frozen=True)
class Slotted:
    inner: Any


@attrs.define
class Attrs:
    a: Any
    _private: str = SECRET


@attrs.frozen(slots=False)
class AttrsChild(Attrs):
    b: int = 2


class Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow", arbitrary_types_allowed=True)

    text: str
    child: Any = None
    key: pydantic.SecretStr = pydantic.SecretStr(SECRET)
    hidden: str = pydantic.Field(SECRET, exclude=True)

    @cached_property
    def derived(self) -> str:
        return SECRET

    @pydantic.field_serializer("text")
    def fail(self, _: str) -> str:
        raise ZeroDivisionError


class Link(pydantic.BaseModel):
    uri: pydantic.AnyUrl
    page: pydantic.HttpUrl
    store: pydantic.MongoDsn
    zone: ZoneInfo
    form: re.Pattern[str]


LINK: dict[str, Any] = {
    "uri": "file:///reports/7.txt",
    "page": "https://example.org/7",
    "store": "mongodb://a:1,b:2/c",
    "zone": "Europe/Berlin",
    "form": "a+",
}


class Root(pydantic.RootModel[list[int]]):
    pass


class MyDict(dict[Any, Any]):
    def items(self) -> NoReturn:
        raise ZeroDivisionError

    __iter__ = keys = __len__ = __getitem__ = items  # type: ignore[assignment]


class MyList(list[Any]):
    def __iter__(self) -> NoReturn:
        raise ZeroDivisionError

    __len__ = __getitem__ = __iter__  # type: ignore[assignment]


def looked_at() -> Model:
    model = Model(text="t", more=[1])  # type: ignore[call-arg]
    assert model.derived == SECRET
    return model


def ordered() -> OrderedDict[str, int]:
    value = OrderedDict(a=1, b=2)
    value.move_to_end("a")
    return value


EXAMPLES: dict[str, tuple[object, object]] = {
    "lone surrogate": ("a\ud800\udfffb", "a\ufffd\ufffdb"),
    "text beyond ASCII": ("añ漢\U0001f600", "añ漢\U0001f600"),
    "str subclass": (Text("ab\udc00"), "ab\ufffd"),
    "int subclass": (Whole(5), 5),
    "float subclass": (Real(0.5), 0.5),
    "64 bits": ([2**64 - 1, -(2**63)], [2**64 - 1, -(2**63)]),
    "more bits": ([2**64, -(2**63) - 1], [str(2**64), str(-(2**63) - 1)]),
    "bits without end": ([1 << 10**7, Whole(1 << 10**7)], ["<int>", "<int>"]),
    "enums": (
        [Colour.RED, Level.HIGH, Shout.LOUD, *Odd],
        ["red", 3, "loud", [1, 2], 7, "THING", None],
    ),
    "binary": (
        [b"12", bytearray(3), memoryview(array("d", [1]))],
        ["<bytes: 2>", "<bytearray: 3>", "<memoryview: 8>"],
    ),
    "numbers": (
        [1 + 2j, Decimal("1.50"), Decimal("sNaN"), Fraction(1, 3), Fraction(1, 7**5000)],
        ["(1+2j)", "1.50", "sNaN", "1/3", "1/<int>"],
    ),
    "times": (
        [datetime(2025, 1, 2, tzinfo=UTC), date(2025, 1, 2), time(3, 4), timedelta(minutes=1.5)],
        ["2025-01-02T00:00:00+00:00", "2025-01-02", "03:04:00", 90.0],
    ),
    "ids and paths": (
        [UUID(int=1), PurePosixPath("/a/\udc80")],
        ["00000000-0000-0000-0000-000000000001", "/a/\ufffd"],
    ),
    "addresses": (
        [ip_address("::1"), ip_network("10.0.0.0/8"), ip_interface("10.0.0.1/8")],
        ["::1", "10.0.0.0/8", "10.0.0.1/8"],
    ),
    "sequences": (
        [(1, (2,)), deque([1]), range(3), array("i", [4]), UserList([5]), MyList([6])],
        [[1, [2]], [1], [0, 1, 2], [4], [5], [6]],
    ),
    "long range": (range(10**30, 10**30 + 1), [str(10**30)]),
    "user string": (UserString("ab"), "ab"),
    "sets": (
        [{"c", "a", "b"}, frozenset({3, 1, 2}), set(), {None}],
        [["a", "b", "c"], [1, 2, 3], [], [None]],
    ),
    "views": ([{1: 2}.keys(), {1: 2}.values(), {1: 2}.items()], [[1], [2], [[1, 2]]]),
    "views of a mapping": ([UserDict(a=1).keys(), UserDict(a=1).values()], [["a"], [1]]),
    "mappings": (
        [
            MappingProxyType({"a": 1}),
            defaultdict(int, b=2),
            Counter("c"),
            UserDict({4: 4}),
            ChainMap({"e": 5}, {"e": 0}),
            MyDict(f=6),
        ],
        [{"a": 1}, {"b": 2}, {"c": 1}, {"4": 4}, {"e": 5}, {"f": 6}],
    ),
    "namedtuple": (Point(1, {2}), {"x": 1, "y": [2]}),
    "struct sequence": (struct_time(range(9)), list(range(9))),
    "dataclasses": ([Data("n"), Slotted(Slotted(1))], [{"name": "n"}, {"inner": {"inner": 1}}]),
    "attrs": ([Attrs({1}), AttrsChild(1)], [{"a": [1]}, {"a": 1, "b": 2}]),
    "pydantic": (
        looked_at(),
        {"text": "t", "child": None, "key": "<SecretStr>", "more": [1]},
    ),
    "pydantic, part made": (
        Model.model_construct(child=Root([1])),
        {"child": [1], "key": "<SecretStr>"},
    ),
    "pydantic's kinds of text": (Link(**LINK), LINK),
    "addresses of the web": (
        [yarl.URL("http://a/b"), pydantic.AnyUrl("http://a/b")],
        ["http://a/b", "http://a/b"],
    ),
    "numpy scalars": (
        [
            np.float32(0.5),
            np.float64(0.5),
            np.int8(1),
            np.bool_(True),
            np.str_("s"),
            np.bytes_(b""),
        ],
        [0.5, 0.5, 1, True, "s", "<bytes_: 0>"],
    ),
    "numpy dates": (np.datetime64("2025-01-02"), "2025-01-02"),
    "numpy's own numbers": (np.longdouble(1), "<longdouble>"),
    "numpy arrays": (
        [np.arange(3), np.eye(2), np.array(4), np.array([{1}, None]), np.zeros((2, 0))],
        [[0, 1, 2], [[1.0, 0.0], [0.0, 1.0]], 4, [[1], None], [[], []]],
    ),
    "objects": (
        [object(), SimpleNamespace(a=SECRET), pydantic.SecretStr(SECRET), ValueError(SECRET)],
        ["<object>", "<SimpleNamespace>", "<SecretStr>", "<ValueError>"],
    ),
    "code": (
        [len, lambda: 0, check.__get__(1), int, math, io.StringIO(SECRET), asyncio.Lock()],
        [
            *["<builtin_function_or_method>", "<function>", "<method>", "<type>", "<module>"],
            *["<StringIO>", "<Lock>"],
        ],
    ),
    "keys": (
        {1: 0, 2.5: 0, None: 0, False: 0, UUID(int=2): 0, Colour.RED: 0, 2**70: 0}
        | {(1, 2): 0, b"k": 0, "\ud800": 0, Slotted(1): 0, len: 0, "é": 0},
        dict.fromkeys(
            [
                *["1", "2.5", "null", "false", str(UUID(int=2)), "red", str(2**70), "<tuple>"],
                *["<bytes: 1>", "\ufffd", "<Slotted>", "<builtin_function_or_method>", "é"],
            ],
            0,
        ),
    ),
    "key with a surrogate": ({"a": 1, "b\ud800": 2}, {"a": 1, "b\ufffd": 2}),
    "keys that collide": (
        {1: "a", "1 (2)": "b", Colour.RED: "c", Shout.LOUD: "e", ("red",): 1, (): 2, "1": "d"}
        | {chr(0xD800 + n): n for n in (0, 1)},
        {
            "1 (3)": "a",
            "1 (2)": "b",
            "red": "c",
            "loud": "e",
            "<tuple>": 1,
            "<tuple> (2)": 2,
            "1": "d",
            "\ufffd": 0,
            "\ufffd (2)": 1,
        },
    ),
}


@pytest.mark.parametrize("kind", EXAMPLES)
def test_each_kind_has_its_word(kind: str) -> None:
    """
    A value of a known kind becomes what JSON can say of it, any other a marker.
    """
    value, word = EXAMPLES[kind]

    result = legalize(value)

    check(result)
    assert orjson.dumps(result) == orjson.dumps(word)


def test_the_order_of_a_mapping_stays() -> None:
    """
    Members come in the order in which the mapping gives them.
    """
    assert list(legalize(ordered())) == ["b", "a"]


def test_pydantic_1_is_read_like_2() -> None:
    """
    A model of the old version gives its fields and extras, without what is excluded.
    """
    from pydantic import v1

    class Old(v1.BaseModel):
        a: Any = (1,)
        hidden: Any = v1.Field(default=SECRET, exclude=True)

        class Config:
            extra = "allow"

    assert legalize(Old.parse_obj({"b": Old.parse_obj({})})) == {"a": [1], "b": {"a": [1]}}


def test_iterators_stay_unconsumed() -> None:
    """
    A generator or iterator in a payload is its owner's to consume.
    """

    consumed: list[object] = []

    class Stream(Sequence[int]):
        def __iter__(self) -> Iterator[int]:
            return self

        def __next__(self) -> int:
            consumed.append(self)
            raise StopIteration

        def __len__(self) -> int:
            return 1

        def __getitem__(self, _: object) -> NoReturn:
            raise AssertionError

    generator, iterator = (i for i in "ab"), iter([1])

    assert legalize([generator, iterator, Stream()]) == [
        "<generator>",
        "<list_iterator>",
        "<Stream>",
    ]
    assert not consumed
    assert list(generator) == ["a", "b"]
    assert list(iterator) == [1]


# Bounds


def test_plain_data_within_the_bounds_is_whole() -> None:
    """
    The last level and the last member that fit are there.
    """
    wide: list[Any] = [[1] * MAX_MEMBERS, [[]] * MAX_ODD, dict.fromkeys(map(str, range(MAX_ODD)))]
    for value in (*wide, nested(MAX_DEPTH), nested(MAX_DEPTH, "leaf")):
        result = legalize(value)
        # Comparing 200 levels would take recursion.
        assert orjson.dumps(result) == orjson.dumps(value)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda v: [v],
        lambda v: {"a": v},
        lambda v: (v,),
        Slotted,
        lambda v: Root.model_construct([v]),
    ],
)
def test_what_is_too_deep_is_marked(wrap: Callable[[object], object]) -> None:
    """
    Containers below the last level give way to a marker, of whatever kind they are.
    """
    value: object = "leaf"
    for _ in range(1000):
        value = wrap(value)

    result = legalize(value)

    assert check(result) == (MAX_DEPTH, MAX_DEPTH)
    assert orjson.dumps(result).count(TOO_DEEP.encode()) == 1


ODD_CONTAINERS: list[Callable[[int], Any]] = [
    lambda n: set(range(n)),
    lambda n: deque([0]) * n,
    range,
    lambda n: array("b", [0]) * n,
    np.zeros,
    lambda n: np.zeros((n, 0)),
    lambda n: dict.fromkeys(range(n)),
    lambda n: Counter({str(i): i for i in range(n)}),
    lambda n: MappingProxyType(dict.fromkeys(range(n))),
]


FEW_ODD = MAX_ODD // 10
"""Room for odd members where more of it would show no more."""


def walked(value: object) -> Any:
    """
    Legalize *value* with room for `FEW_ODD` odd members.
    """
    root = [value]
    _Walk(odd=FEW_ODD).fill(root)
    return root[0]


@pytest.mark.parametrize("make", ODD_CONTAINERS)
def test_what_is_odd_and_too_large_is_cut_and_marked(make: Callable[[int], Any]) -> None:
    """
    Members that fit stay; one marker stands for the rest.
    """
    odd, rest = walked([make(FEW_ODD + 5), {"whole": [1]}])

    assert check(odd)[0] == FEW_ODD + 1
    assert (list(odd.values()) if type(odd) is dict else odd)[-1] == TOO_LARGE
    assert type(odd) is list or TOO_LARGE in odd
    assert rest == {"whole": [1]}


def test_the_field_that_is_cut_is_named() -> None:
    """
    What is odd and takes all the room there is, beside a field that stays whole.
    """
    result, cut = legalize_fields({"metadata": range(MAX_ODD + 5), "inputs": {"whole": [1]}})

    assert result == {"metadata": [*range(MAX_ODD), TOO_LARGE], "inputs": {"whole": [1]}}
    assert cut == ["metadata"]


@pytest.mark.parametrize(
    "make",
    [
        lambda n: [0] * n,
        lambda n: tuple([0] * n),
        lambda n: MyList([0] * n),
        lambda n: [("é", {"ü": i}) for i in range(n // 3)],
        lambda n: {str(i): i for i in range(n)},
        lambda n: {"é" * (i % 2) + str(i): i for i in range(n)},
    ],
)
@pytest.mark.parametrize("odd", [{1}, object(), set(range(FEW_ODD + 5))])
def test_what_is_plain_is_whole_beside_what_is_odd(make: Callable[[int], Any], odd: object) -> None:
    """
    However much of it there is, and whatever is odd before it, behind it and in it.
    """
    plain = make(FEW_ODD * 6 // 5)
    legal = walked(odd)
    value: list[Any] = [odd, plain, {"odd": odd}]

    result = walked(value)

    assert orjson.dumps(result[:2]) == orjson.dumps([legal, plain])


def test_what_no_body_can_hold_is_cut() -> None:
    """
    Where even plain data would take more than 5,000,000 bytes, the walk ends.
    """
    assert 2 * MAX_MEMBERS >= MAX_BODY_BYTES
    result, cut = legalize_fields({"inputs": [0] * (MAX_MEMBERS + 5), "outputs": [0]})

    assert check(result["inputs"])[0] == MAX_MEMBERS + 1
    assert result["outputs"] == TOO_LARGE
    assert cut == ["inputs", "outputs"]


def test_a_cut_object_keeps_its_own_member_of_the_markers_name() -> None:
    """
    The marker's key gives way to a real one.
    """
    value = {TOO_LARGE: 1} | dict.fromkeys(range(MAX_ODD))

    result = legalize(value)

    assert result[TOO_LARGE] == 1
    assert result[f"{TOO_LARGE} (2)"] == TOO_LARGE


def test_all_odd_containers_share_one_budget() -> None:
    """
    Those that come when it is used up are marked, empty ones excepted; plain ones are whole.
    """
    result = legalize([deque([0] * MAX_ODD), {1}, set(), {2: 2}, [1]])

    assert len(result[0]) == MAX_ODD
    assert result[1:] == [TOO_LARGE, [], TOO_LARGE, [1]]


def test_shared_members_are_written_each_time_within_the_budget() -> None:
    """
    A hundred doublings are not 2 ** 100 members, and each is there until room is out.
    """
    value: Any = ["x"]
    for _ in range(100):
        value = [value, value]
    vector = [0.5] * 1000

    assert legalize([[1], [1]]) == legalize([shared := [1], shared])
    assert check(legalize(value))[0] <= 2 * MAX_ODD + 200
    assert legalize([*[vector] * 1000, {1}]) == [*[vector] * 1000, [1]]


@pytest.mark.parametrize(
    "make",
    [
        lambda n: [0] * n,
        lambda n: UserList([0] * n),
        lambda n: dict.fromkeys(range(n // 10)),
        lambda n: range(n**2),
        lambda n: np.zeros((1000, n // 100)),
    ],
)
def test_neither_copies_nor_walks_what_does_not_fit(make: Callable[[int], object]) -> None:
    """
    Memory is bounded by the result, a tenth of what is allowed, not by what is left out of it.
    """
    many = make(3_000_000)
    siblings: object = many
    for _ in range(50):
        siblings = [siblings, *[0] * 1_000]
    root: list[Any] = [[many, siblings, [many] * 1_000]]
    walk = _Walk(members=MAX_MEMBERS // 10, odd=MAX_ODD // 10, repeats=MAX_ODD // 10)
    tracemalloc.start()
    try:
        walk.fill(root)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert check(root[0])[0] <= MAX_MEMBERS // 10 + 1
    assert peak < 10e6


def test_an_endless_container_is_cut() -> None:
    """
    Of what never ends no more is asked than fits.
    """
    asked = itertools.count()

    class Endless(Sequence[int]):
        def __iter__(self) -> Iterator[int]:
            return asked

        def __len__(self) -> int:
            return 10**100

        def __getitem__(self, index: Any) -> Any:
            return index

    result = legalize([Endless(), Endless()])

    assert result[1] == TOO_LARGE
    assert len(result[0]) == MAX_ODD + 1
    assert next(asked) <= MAX_ODD + 2


def test_little_is_asked_of_what_is_too_deep() -> None:
    """
    A container that is left out is not copied first.
    """
    asked = itertools.count()

    class Endless(Sequence[int]):
        __len__ = __getitem__ = fail

        def __iter__(self) -> Iterator[int]:
            return asked

    legalize(nested(MAX_DEPTH, Endless()))

    assert next(asked) <= 1


def test_endless_levels_are_cut() -> None:
    """
    A container that makes new ones whenever it is asked ends at the last level.
    """

    class Doll(Sequence[Any]):
        def __iter__(self) -> Iterator[Any]:
            return iter([Doll()])

        def __len__(self) -> int:
            return 1

        def __getitem__(self, _: object) -> Any:
            return Doll()

    assert check(legalize(Doll())) == (MAX_DEPTH, MAX_DEPTH)


def test_many_keys_that_collide_all_stay() -> None:
    """
    Each of them is told apart, in time that does not grow with the square.
    """
    value = {object(): n for n in range(50_000)} | {
        f"<object> ({n})": n for n in range(0, 9_000, 3)
    }

    result = legalize(value)

    assert len(result) == 53_000
    assert all(result[f"<object> ({n})"] == n for n in range(0, 9_000, 3))


# Cycles


def enum_of(value: object) -> Any:
    """
    Make an enum of its own, and take its only member.
    """

    class Only(Enum):
        ONE = value

    return Only.ONE


def cycles() -> Iterator[tuple[object, object]]:
    a: list[Any] = [1]
    a.append(a)
    yield a, [1, CYCLE]
    b: dict[Any, Any] = {}
    b["b"] = {1: b, 2: []}
    yield b, {"b": {"1": CYCLE, "2": []}}
    c: Any = Slotted(([],))
    c.inner[0].append(c)
    yield c, {"inner": [[CYCLE]]}
    d: Any = UserDict()
    d["d"] = d
    yield d, {"d": CYCLE}
    e = looked_at()
    e.child = [e]
    yield e, {"text": "t", "child": [CYCLE], "key": "<SecretStr>", "more": [1]}
    f = np.array([None])
    f[0] = f
    yield f, [CYCLE]
    g = enum_of([])
    g.value.append(g)
    yield g, [CYCLE]


def test_a_container_inside_itself_is_marked() -> None:
    """
    The walk does not go round, whatever the container is.
    """
    for value, word in cycles():
        assert legalize(value) == word


def test_an_enum_that_is_its_own_value_is_marked() -> None:
    """
    A chain of values that never comes to plain data ends.
    """
    member = enum_of(1)
    member._value_ = member

    assert legalize([member, {member: 1}]) == ["<Only>", {"<Only>": 1}]


# Hostile objects


class Weird(BaseException):
    pass


def fail(*_: object, **__: object) -> NoReturn:
    raise Weird(SECRET)


HOOKS = """
    __getattribute__ __getattr__ __str__ __repr__ __len__ __bool__ __iter__ __next__ __getitem__
    __contains__ __index__ __int__ __float__ __bytes__ __fspath__ __format__ __length_hint__ __dir__
    __lt__ __add__ __call__ __copy__ keys items values item tolist isoformat as_integer_ratio
    model_dump dict
"""


def hostile(*bases: type, **more: object) -> Any:
    """
    Make a class whose every method raises what is not even an Exception.
    """
    return type("Hostile", bases, dict.fromkeys(HOOKS.split(), fail) | more)


LIES = "__name__ __module__ __class__ __dict__ __mro__ __bases__ __hash__ __getattr__"
TRUTHS = "__eq__ __instancecheck__ __subclasscheck__"


def liar(*bases: type) -> Any:
    """
    Make a class that says it is whatever one asks for, can't be hashed, and raises else.
    """
    lies = dict.fromkeys(LIES.split(), property(fail))
    meta: Any = type("Meta", (type,), lies | dict.fromkeys(TRUTHS.split(), lambda *_: True))
    own = {"__class__": str, "__eq__": lambda *_: True, "__hash__": lambda _: 1}
    return meta("Liar", bases, own)


Pretender = type("Pretender", (), {"__class__": property(lambda _: dict)})
OWN: list[Any] = [{1}]
"""What FakeNumpy hands out; nobody else may change it."""


class FakeNumpy:
    """
    Says that it comes from numpy.
    """

    def item(self) -> Any:
        return OWN


FakeNumpy.__module__, FakeNumpy.__name__ = "numpy", "generic"


class BadMapping(Mapping[Any, Any]):
    def __init__(self, items: object) -> None:
        self._items = items

    def items(self) -> Any:
        return self._items

    def __getitem__(self, _: object) -> NoReturn:
        raise Weird

    __iter__ = __len__ = __getitem__  # type: ignore[assignment]


class BadZone(tzinfo):
    utcoffset = dst = tzname = fail


def released_memory() -> memoryview:
    with memoryview(b"a") as view:
        return view


HOSTILE: dict[str, tuple[Callable[[], object], object]] = {
    "object": (hostile(object), "<Hostile>"),
    "dict": (lambda: hostile(dict)({"a": 1}), {"a": 1}),
    "list": (lambda: hostile(list)([1]), [1]),
    "tuple": (lambda: hostile(tuple)([1]), [1]),
    "set": (lambda: hostile(set)([1]), [1]),
    "str": (lambda: hostile(str)("a"), "a"),
    "int": (lambda: hostile(int)(1), 1),
    "float": (lambda: hostile(float)(1), 1.0),
    "bytes": (lambda: hostile(bytes)(2), "<Hostile: 2>"),
    "deque": (lambda: hostile(deque)([1]), [1]),
    "datetime": (lambda: hostile(datetime)(2025, 1, 1), "<Hostile>"),
    "user dict": (hostile(UserDict, __init__=lambda _: None), "<Hostile>"),
    "sequence": (hostile(Sequence), "<Hostile>"),
    "mapping": (hostile(Mapping), "<Hostile>"),
    "exception": (hostile(Exception), "<Hostile>"),
    "lying class": (liar(), "<Liar>"),
    "lying class of dict": (lambda: liar(dict)(a=1), {"a": 1}),
    "lying instance": (Pretender, "<Pretender>"),
    "lying module": (FakeNumpy, [[1]]),
    "name that is odd text": (type(Text("a"), (), {}), "<a>"),
    "long name": (type("a" * 10_000, (), {}), f"<{'a' * 100}>"),
    "module that is no text": (type("Odd", (), {"__module__": []}), "<Odd>"),
    "members that are no pairs": (lambda: BadMapping([1, 2]), "<BadMapping>"),
    "no members": (lambda: BadMapping(None), "<BadMapping>"),
    "the same key again": (lambda: BadMapping([("a", 1), ("a", 2)]), {"a": 1, "a (2)": 2}),
    "fields that are none": (type("Odd", (), {"__attrs_attrs__": 1}), "<Odd>"),
    "no dataclass": (type("Odd", (), {"__dataclass_fields__": {1: 2}}), "<Odd>"),
    "odd names of fields": (type("Odd", (tuple,), {"_fields": ()}), {}),
    "released memory": (released_memory, "<memoryview>"),
    "failing zone": (lambda: datetime(2025, 1, 1, tzinfo=BadZone()), "<datetime>"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_values_do_no_harm(kind: str) -> None:
    """
    A value counts as what its type makes it, and what it raises costs nothing but itself.
    """
    make, word = HOSTILE[kind]
    value = make()

    assert legalize([1, value, {"a": value}]) == [1, word, {"a": word}]


def test_hostile_keys_do_no_harm() -> None:
    """
    A key whose code raises or lies is marked, and its member stays.
    """
    odd = hostile(object, __hash__=lambda _: 1, __eq__=lambda a, b: a is b)
    value = {odd(): 1, liar()(): 2, hostile(str)("a"): 3, FakeNumpy(): 4}

    assert legalize(value) == {"<Hostile>": 1, "<Liar>": 2, "a": 3, "<generic>": 4}


@pytest.mark.parametrize(
    "error", [RecursionError, MemoryError, asyncio.CancelledError, GeneratorExit]
)
def test_errors_of_a_value_are_contained(error: type[BaseException]) -> None:
    """
    Whatever a value raises marks it, even what looks like trouble of the interpreter.
    """

    class Failing(Mapping[Any, Any]):
        def items(self) -> Any:
            raise error

        __getitem__ = __iter__ = __len__ = fail

    assert legalize([Failing(), 1]) == ["<Failing>", 1]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_what_stops_the_program_is_not_contained(stop: type[BaseException]) -> None:
    """
    An interrupt that arrives while a value or a key is looked at goes on its way.
    """

    class Interrupted(Mapping[Any, Any]):
        def items(self) -> Any:
            raise stop

        __hash__ = object.__hash__
        __getitem__ = __iter__ = __len__ = fail

    for value in (Interrupted(), {Interrupted(): 1}):
        with pytest.raises(stop):
            legalize(value)


def test_a_list_that_another_thread_changes_is_no_problem() -> None:
    """
    Containers are copied before they are walked.
    """
    grown: list[Any] = []
    table: dict[Any, Any] = {}
    mapping: UserDict[Any, Any] = UserDict()
    shared: dict[str, Any] = {
        "list": grown,
        "dict": table,
        "deque": deque(),
        "set": set(),
        "mapping": mapping,
    }
    is_over = threading.Event()

    def change() -> None:
        for n in itertools.count():
            if is_over.is_set():
                return
            grown.append([n])
            table[n % 997] = mapping[n % 997] = {n}
            shared["deque"].append(n)
            shared["set"].add(n)
            if n % 500 == 499:
                for container in (grown, table, mapping, shared["deque"], shared["set"]):
                    container.clear()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(300):
            result = legalize(shared)
            check(result)
            assert [type(result[name]) for name in shared] == [list, dict, list, list, dict]
    finally:
        is_over.set()
        thread.join(PATIENCE)
        sys.setswitchinterval(interval)


def test_a_container_that_changes_while_it_is_copied_is_copied_again() -> None:
    """
    Only one that changes each time is given up.
    """

    class Changing(Mapping[Any, Any]):
        def __init__(self, changes: int) -> None:
            self.changes = changes

        def items(self) -> Any:
            if self.changes:
                self.changes -= 1
                changing = {1: 1}
                items = iter(changing.items())
                changing[2] = 2
                return items
            return [("a", 1)]

        __getitem__ = __iter__ = __len__ = fail

    assert legalize(Changing(4)) == {"a": 1}
    assert legalize(Changing(5)) == "<Changing>"


def test_a_stack_all_but_used_up_is_no_problem() -> None:
    """
    However few frames are left, what comes back is legal, and plain data needs few.
    """
    value = {"plain": nested(150), "odd": {1: looked_at()}}
    results: list[object] = []

    def dive() -> None:
        with suppress(RecursionError):
            dive()
        try:
            results.append(legalize(value))
        except RecursionError:
            results.append(None)  # legalize itself could not be called

    dive()

    results = results[:100]
    assert None not in results[1:]
    assert TOO_DEEP in results
    for result in results:
        orjson.dumps(result)
    assert orjson.dumps(results[-1]) == orjson.dumps(legalize(value))


# Anything at all


def poisoned(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    keys = scalars | st.tuples(scalars) | st.frozensets(scalars, max_size=2)
    return st.one_of(
        st.lists(children, max_size=4),
        st.lists(children, max_size=4).map(tuple),
        st.lists(children, max_size=4).map(deque),
        st.lists(children, max_size=4).map(MyList),
        st.lists(children, max_size=4).map(UserList),
        st.lists(children, max_size=4).map(lambda v: np.array([None, *v], dtype=object)),
        st.dictionaries(keys, children, max_size=4),
        st.dictionaries(keys, children, max_size=4).map(MyDict),
        st.dictionaries(keys, children, max_size=4).map(MappingProxyType),
        st.dictionaries(keys, children, max_size=4).map(UserDict),
        st.dictionaries(keys, children, max_size=4).map(BadMapping),
        st.builds(Point, children, children),
        st.builds(Data, children),
        st.builds(Slotted, children),
        st.builds(Attrs, children),
        st.builds(Model, text=st.text(), child=children),
        st.builds(BadMapping, children),
    )


plain_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False),
    st.text(),
)
plain = st.recursive(
    plain_scalars,
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=40,
)
scalars = st.one_of(
    plain_scalars,
    st.integers(),
    st.text(st.characters(categories=["Cs", "L"])),
    st.binary(),
    st.builds(Text, st.text()),
    st.decimals(allow_nan=False),
    st.datetimes(),
    st.timedeltas(),
    st.uuids(),
    st.complex_numbers(),
    st.fractions(),
    st.ip_addresses(),
    st.sampled_from([*Odd, *Colour, *Level, *Shout, object(), len, int]),
)
# In a tuple each: hypothesis looks at what it is given more closely than they bear.
hostiles = st.sampled_from(list(HOSTILE)).map(lambda kind: (HOSTILE[kind][0](),))
anything = st.recursive(
    scalars | hostiles,
    poisoned,
    max_leaves=40,
)


@given(plain)
def test_plain_data_comes_back_equal_and_shares_nothing(value: Any) -> None:
    """
    What is legal already gets no mark, and the copy is the receiver's to change.
    """
    before = copy.deepcopy(value)

    result = legalize(value)

    assert result == value
    check(result)
    empty(result)
    assert value == before


def empty(result: Any) -> None:
    """
    Take everything out of every container of *result*.
    """
    if type(result) in (dict, list):
        for member in result.values() if type(result) is dict else result:
            empty(member)
        result.clear()


@settings(deadline=None)
@given(anything, st.lists(anything), st.randoms())
def test_any_value_becomes_legal(value: Any, more: list[Any], random: Any) -> None:
    """
    Whatever is in it, round it goes and is bent: orjson takes what comes back.
    """
    grown = [value, *more]
    inner = [v for v in containers_in(grown) if is_one_of(v, list, dict, deque)]
    for container in random.sample(inner, min(len(inner), 3)):
        target = random.choice(inner)
        if type(container) is dict:
            container[1] = target
        else:
            container.append(target)
    before = shape(grown)

    result = legalize(grown)

    nodes, depth = check(result)
    assert nodes <= MAX_MEMBERS + 1
    assert depth <= MAX_DEPTH
    assert shape(grown) == before


@settings(deadline=None, max_examples=300)
@given(st.from_type(type).flatmap(st.from_type))
def test_a_value_of_any_type_becomes_legal(value: Any) -> None:
    """
    The types of the standard library hold no surprise.
    """
    check(legalize([value]))


def is_one_of(value: object, *kinds: type) -> bool:
    return any(type(value) is kind for kind in kinds)  # not `in`: a metaclass may lie in ==


def containers_in(value: Any) -> list[Any]:
    found: list[Any] = [value]
    for container in found:
        kind = type(container)
        members = container.values() if kind is dict else container
        found += [
            m
            for m in members
            if is_one_of(m, list, tuple, dict, deque) and not any(m is f for f in found)
        ]
    return found


def shape(value: Any) -> list[tuple[int, list[int]]]:
    """
    Which objects are in which of the builtin containers.
    """
    return [
        (id(c), [id(m) for m in (itertools.chain(c, c.values()) if type(c) is dict else c)])
        for c in containers_in(value)
    ]
