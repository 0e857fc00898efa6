"""
The functions that SQLite is lent: patterns of texts, and values in JSON.
"""

from __future__ import annotations

import json
import re
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hh_exporter._collector.storage.matching import (
    PathTest,
    WordTest,
    _readings,
    _words,
    as_parameter,
    contains,
    holds,
    matches,
)
from hh_exporter._collector.storage.patterns import Pattern

TEXTS = st.text(st.sampled_from("abAß"), max_size=8)


@given(st.lists(TEXTS, min_size=1, max_size=5), TEXTS)
def test_a_pattern_is_what_a_regular_expression_with_gaps_is(pieces: list[str], text: str) -> None:
    """
    Each piece is found where it may be, without any order of trials that explodes.
    """
    expression = ".*".join(re.escape(piece.casefold()) for piece in pieces)
    expected = re.fullmatch(expression, text.casefold(), re.DOTALL) is not None

    assert Pattern.of(*pieces).fits(text) is expected
    assert matches(text, as_parameter(Pattern.of(*pieces))) is expected


def test_a_pattern_of_many_gaps_takes_no_longer() -> None:
    """
    A million characters that almost fit a thousand gaps are compared at once.
    """
    assert not Pattern.of(*["a"] * 1000, "b").fits("a" * 1_000_000 + "c")


EVENT = {
    "tenant": "Acme",
    "gen_ai.system": "openai",
    "gen_ai": {"usage": {"total": 3}},
    "retries": 3,
    "big": 2**64 - 1,
    "ratio": 0.5,
    "cached": True,
    "nothing": None,
    "tags": ["x", "Why", ["nested"]],
    "calls": [{"role": "user"}, {"role": "tool", "n": 2}],
    "0": "zero",
}


@pytest.mark.parametrize(
    ("path", "value", "is_met"),
    [
        ("tenant", "acme", True),
        ("tenant", "acm", False),
        ("TENANT", "acme", False),
        ("gen_ai/system", "openai", True),
        ("gen_ai/usage/total", "3", True),
        ("retries", "3", True),
        ("retries", "3.0", True),
        ("retries", "03", True),
        ("big", "18446744073709551615", True),
        ("big", "18446744073709551614", False),
        ("ratio", "0.50", True),
        ("cached", "TRUE", True),
        ("cached", "1", False),
        ("nothing", "null", False),
        ("tags", "why", True),
        ("tags", "nested", True),
        ("tags/1", "why", True),
        ("tags/0", "why", False),
        ("tags/7", "why", False),
        ("calls/role", "tool", True),
        ("calls/0/role", "tool", False),
        ("calls/1/n", "2", True),
        ("0", "zero", True),
        ("tenant/deeper", "acme", False),
        ("gen_ai", "openai", False),
    ],
)
def test_a_value_is_compared_as_it_reads(path: str, value: str, is_met: bool) -> None:
    """
    Numbers by their value, texts without case, and of a list any member.
    """
    number: Any = float(value) if re.fullmatch(r"[0-9.]+", value) else None
    number = int(value) if value.isdecimal() else number
    for is_negated in (False, True):
        test = PathTest(tuple(path.split("/")), ":", Pattern.of(value), number, is_negated)
        assert holds(orjson.dumps(EVENT), as_parameter([test])) is (is_met is not is_negated)


@pytest.mark.parametrize(
    ("path", "compared", "number", "is_met"),
    [
        ("retries", ">", 2, True),
        ("retries", ">", 3, False),
        ("retries", ">=", 3, True),
        ("ratio", "<", 1, True),
        ("ratio", "<=", 0.4, False),
        ("big", ">", 2**64 - 2, True),
        ("cached", ">", 0, False),
        ("tenant", ">", 0, False),
        ("calls/n", "<", 3, True),
        ("missing", "<", 3, False),
    ],
)
def test_only_numbers_are_more_or_less(
    path: str, compared: str, number: float, is_met: bool
) -> None:
    """
    Neither a text nor true is one, and what is missing is not zero.
    """
    test = PathTest(tuple(path.split("/")), compared, None, number, is_negated=False)

    assert holds(orjson.dumps(EVENT), as_parameter([test])) is is_met


@pytest.mark.parametrize("path", ["tenant", "retries", "cached", "tags", "gen_ai", "calls/n"])
def test_a_gap_fits_whatever_is_there(path: str) -> None:
    """
    Objects have no text, but can be asked for; null is as if it were missing.
    """

    def is_there(path: str) -> bool:
        test = PathTest(tuple(path.split("/")), ":", Pattern.of("", ""), None, is_negated=False)
        return holds(orjson.dumps(EVENT), as_parameter([test]))

    assert is_there(path)
    assert not is_there("nothing")
    assert not is_there(f"{path}/none")


def test_deep_json_is_looked_into() -> None:
    """
    Lists in lists, as deep as JSON may be, need no stack.
    """
    event = b'{"a":' + b"[" * 1000 + b'"x"' + b"]" * 1000 + b"}"
    test = PathTest(("a",), ":", Pattern.of("X"), None, is_negated=False)

    assert holds(event, as_parameter([test]))


PIECES = st.lists(st.sampled_from([*'anuÄß\n"\\/\u00e4', "e4", "\\n", "\\u00e4"]), max_size=6).map(
    "".join
)


@given(text=PIECES, word=PIECES.filter(bool), as_units=st.booleans(), levels=st.integers(0, 2))
@example(text="\na", word="na", as_units=False, levels=0)
@example(text="\\na", word="na", as_units=False, levels=0)
@example(text="\na" * 150, word="na", as_units=False, levels=0)
def test_a_word_is_found_as_it_reads_and_only_there(
    text: str, word: str, as_units: bool, levels: int
) -> None:
    """
    However many times it is JSON within JSON, a search that is quick finds what a slow one does.
    """
    written = text
    for _ in range(levels + 1):
        written = json.dumps({"t": written}, ensure_ascii=as_units)
    needle = word.casefold()
    event = written.encode()
    [way] = _words(as_parameter([WordTest(needle)]))
    expected = any(needle in reading for reading in _readings(way.written(event), way))

    assert contains(event, b"", b"", as_parameter([WordTest(needle)])) is expected
    assert contains(event, b"", b"", as_parameter([WordTest(needle, is_negated=True)])) is not (
        expected
    )


MEMBERS = st.lists(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.5, 1.0, -2.5]) | TEXTS,
    max_size=6,
)


@given(members=MEMBERS, word=TEXTS, number=st.integers(-3, 3) | st.just(0.5))
def test_a_list_is_what_one_of_its_members_is(members: list[Any], word: str, number: float) -> None:
    """
    However many there are, they are compared as each would be alone.
    """
    tests = [
        PathTest(("a",), ":", Pattern.of(word), None, is_negated=False),
        PathTest(("a",), ":", Pattern.of("", word, ""), None, is_negated=False),
        PathTest(("a",), ":", Pattern.of(str(number)), number, is_negated=False),
        *(
            PathTest(("a",), sign, None, number, is_negated=False)
            for sign in (">", ">=", "<", "<=")
        ),
    ]
    for test in (as_parameter([test]) for test in tests):
        alone = [holds(orjson.dumps({"a": member}), test) for member in members]
        assert holds(orjson.dumps({"a": members}), test) is any(alone)
