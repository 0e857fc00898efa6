r"""
JSON as others write it.
"""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hh_exporter._values.reading import read_json

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text() | st.floats(-9, 9),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (rb'"cut \ud83d"', "cut \ufffd"),
        (rb'"\ude00 \ud83d\ud83d\ude00 \uD83D"', "\ufffd \ufffd\U0001f600 \ufffd"),
        (rb'["\\ud83d", "\ud83d"]', [r"\ud83d", "\ufffd"]),
        (rb'{"\ud83d": 1}', {"\ufffd": 1}),
        (b"\xef\xbb\xbf[1]", [1]),
        ('["\u00e9"]'.encode("utf-16"), ["\u00e9"]),
        (b'"caf\xe9, \xc3\xa9"', "caf\u00e9, \u00e9"),
        (b'"a\tb\nc\x00"', "a\tb\nc\x00"),
        (b"[NaN, Infinity, -Infinity, 1e999]", [None] * 4),
        (b"[NaN, 18446744073709551616, -3, 1.5]", [None, 2.0**64, -3, 1.5]),
        (b"[NaN, " + b"9" * 5000 + b"]", [None, None]),
    ],
)
def test_what_is_odd_is_read(raw: bytes, value: Any) -> None:
    """
    What a strict reader refuses says what it said, and can be written again.
    """
    assert read_json(raw) == read_json(bytearray(raw)) == value
    orjson.dumps(read_json(raw))


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"[1] 2", b"ok", b"[" * 100_000, rb'"\u12"', b"\xff\xfe", b"{'a': 1}"]
)
def test_what_is_no_json_is_refused(raw: bytes) -> None:
    """
    Two readers refuse it, and the error is the strict one's.
    """
    with pytest.raises(orjson.JSONDecodeError) as caught:
        read_json(raw)
    with pytest.raises(orjson.JSONDecodeError) as strict:
        orjson.loads(raw)
    assert str(caught.value) == str(strict.value)


@given(plain)
def test_both_readers_agree(value: Any) -> None:
    """
    Behind a byte order mark, which only the tolerant one takes, a text says the same.
    """
    for raw in (orjson.dumps(value), json.dumps(value).encode()):
        assert read_json(b"\xef\xbb\xbf" + raw) == read_json(raw)


@given(st.binary())
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    """
    Nothing else is raised, and what is read can be written.
    """
    try:
        value = read_json(raw)
    except orjson.JSONDecodeError:
        return
    orjson.dumps(value)


@pytest.mark.parametrize("tail", [b"", b'"\\ud800"', b"NaN"])
def test_what_is_too_deep_is_not_read(tail: bytes) -> None:
    """
    The bound is the strict reader's, whether or not something in it is odd, on every Python.
    """

    def nested(levels: int) -> bytes:
        return b"[" * levels + tail + b"]" * levels

    assert read_json(nested(900))
    for levels in (1025, 2000, 100_000):
        with pytest.raises(orjson.JSONDecodeError):
            read_json(nested(levels))
