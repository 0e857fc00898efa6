"""
What is read from an event for lists and charts, whatever it holds.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hh_exporter._collector.storage.store import EventRow, SessionRow, Store
from hh_exporter._collector.storage.summary import MAX_TEXT, Summary, short, summarize
from tests.collector_client import ONE, model_event, v1_event

USAGE = {"prompt_tokens": 3, "completion_tokens": 4}

JUDGED: dict[str, Any] = {
    "user_properties": {"user_id": "ann", "name": "Ann"},
    "metrics": {"time_to_first_token": 9.5},
    "feedback": {"rating": 5, "note": "good"},
}

READ = {
    "legacy": model_event(
        usage=USAGE,
        cost=0.5,
        source="dev",
        event_name="chat",
        start_time=7,
        error="no",
        parent_id="up",
    ),
    "legacy, newer names": {
        "model_name": "gpt-4o",
        "provider": "openai",
        "usage": {"input_tokens": 3, "output_tokens": 4},
        "cost": 0.5,
        "duration": 42.5,
        "end_time": 49.5,
        "event_name": "chat",
        "source": "dev",
        "error": "no",
        "parent_id": "up",
    },
    "legacy, tokens as Google counts them": model_event(
        usage={"prompt_token_count": 3, "candidates_token_count": 4},
        cost=0.5,
        source="dev",
        event_name="chat",
        start_time=7,
        error="no",
        parent_id="up",
    ),
    "v1 as the legacy route stores it": v1_event(
        config={"model_name": "gpt-4o"},
        inputs={"provider": "openai", "usage": USAGE, "cost": 0.5, "duration": 42.5, "error": "no"},
        source="dev",
        event_name="chat",
        start_time=7,
        parent_id="up",
    ),
    "v1 as the examples have it": v1_event(
        config={"model": "gpt-4o", "provider": "openai"},
        metadata={**USAGE, "cost": 0.5},
        source="dev",
        event_name="chat",
        start_time=7,
        duration=42.5,
        error="no",
        parent_id="up",
    ),
}


@pytest.mark.parametrize("event", READ.values(), ids=READ)
def test_each_shape_is_read(event: dict[str, Any]) -> None:
    """
    The same facts are found wherever the dialects put them.
    """
    assert summarize(event | JUDGED) == Summary(
        start=7,
        name="chat",
        type="model",
        model="gpt-4o",
        provider="openai",
        source="dev",
        tokens_in=3,
        tokens_out=4,
        cost=0.5,
        duration=42.5,
        error="no",
        parent_id="up",
        user="ann",
        time_to_first_token=9.5,
        rating=5,
        note="good",
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model", ["gpt-4o"]),
        ("model", ""),
        ("cost", "0.5"),
        ("cost", True),
        ("cost", 1e300),
        ("duration", 2**63),
        ("error", {"message": "no"}),
        ("error", ""),
        ("name", 7),
    ],
)
def test_what_is_not_of_the_right_type_is_not_there(field: str, value: object) -> None:
    """
    A wrong type, an empty text and a number that can't be counted with are None.
    """
    names = {"name": "event_name"}
    event = {names.get(field, field): value}

    assert getattr(summarize(event), field) is None


@pytest.mark.parametrize(
    ("count", "expected"), [(3.0, 3), (3.5, None), ("3", None), (True, None), (2**64 - 1, None)]
)
def test_tokens_are_whole(count: object, expected: int | None) -> None:
    """
    A count may be written as a fraction, but can't be one.
    """
    assert summarize({"usage": {"prompt_tokens": count}}).tokens_in == expected


def test_texts_are_cut() -> None:
    """
    A name has at most 200 characters, an error 500.
    """
    summary = summarize({"event_name": "é" * 900, "error": "é" * 900})

    assert (summary.name, summary.error) == ("é" * 200, "é" * 500)


@pytest.mark.parametrize(
    ("properties", "user"),
    [
        ({"id": 7}, "7"),
        ({"email": "ann@example.com", "name": "Ann"}, "ann@example.com"),
        ({"user_id": True, "name": "Ann"}, "Ann"),
        ({"plan": "free"}, None),
    ],
    ids=["a number", "an address", "a wrong type", "none"],
)
def test_a_user_is_known_by_an_id_before_a_name(
    properties: dict[str, object], user: str | None
) -> None:
    """
    The first of id, e-mail address and name that there is.
    """
    assert summarize({"user_properties": properties}).user == user


def test_long_ids_stay_apart() -> None:
    """
    An id that is too long is known by a name that has its beginning and is its own.
    """
    one, other = short("x" * MAX_TEXT + "1"), short("x" * MAX_TEXT + "2")

    assert len(one) == len(other) == MAX_TEXT
    assert one != other
    assert one.startswith("xxx")
    assert short(one) == one
    assert short("x" * MAX_TEXT) == "x" * MAX_TEXT


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
FIELDS = st.sampled_from(
    [
        *("event_name", "event_type", "model", "model_name", "provider", "source", "error"),
        *("usage", "inputs", "config", "metadata", "prompt_tokens", "output_tokens", "cost"),
        *("duration", "start_time", "end_time", "user_properties", "id", "feedback", "rating"),
    ]
)


@given(st.dictionaries(FIELDS, ANYTHING | st.dictionaries(FIELDS, ANYTHING)))
def test_nothing_that_can_be_sent_is_too_strange(event: dict[str, Any]) -> None:
    """
    Of any JSON in any field a summary is read, and all in it is of its type.
    """
    summary = summarize(event)

    texts = (summary.name, summary.type, summary.model, summary.provider, summary.source)
    for text in (*texts, summary.user, summary.note):
        assert text is None or (type(text) is str and 0 < len(text) <= MAX_TEXT)
    for number in (summary.start, summary.cost, summary.duration, summary.rating):
        assert number is None or (type(number) in {int, float} and abs(number) <= 2**54)
    for count in (summary.tokens_in, summary.tokens_out):
        assert count is None or (type(count) is int and abs(count) <= 2**53)


async def test_the_strangest_can_be_stored() -> None:
    """
    Integers beyond 64 bits, NUL and the longest names are no trouble for the database.
    """
    odd = b'{"model":"\\u0000","duration":18446744073709551615,"event_name":"%b"}' % (b"x" * 9999)
    async with Store.open(None) as store:
        await store.add([EventRow(odd, "\0", "\0" * 999, ONE, 0)], SessionRow(b"{}", "\0" * 999, 0))

        assert [row async for rows in store.events() for row in rows] == [
            EventRow(odd, "\0", "\0" * 999, ONE, 0)
        ]
