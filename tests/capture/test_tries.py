"""
A client may try again within one call of a framework: what a failed try says is not the call's.
"""

from __future__ import annotations

from typing import Any

import pytest

from hh_exporter._capture.duplicates import Call, Duplicates
from hh_exporter.events import ModelEvent

TEXT = {"role": "assistant", "content": "Hi"}


def call(span_id: int, around: int | None = None, **fields: Any) -> Call:
    event = ModelEvent(model="m", event_id=str(span_id), messages=[], **fields)
    return Call(span_id, event, around=around)


def joined(*calls: Call) -> ModelEvent:
    """
    Have calls end in this order; returns the one event of them.
    """
    duplicates = Duplicates()
    for each in calls:
        duplicates.add(each, 0.0)
    [only] = duplicates.take(0.0, all_of_them=True)
    return only.event


def test_a_call_that_went_well_has_no_error_of_a_try() -> None:
    """
    As of pydantic-ai, which streams what Anthropic's client refuses to ask for whole.
    """
    event = joined(
        call(2, around=1, error="not that long"),
        call(3, around=1, response=TEXT),
        call(1, response=TEXT),
    )

    assert (event.event_id, event.response, event.error) == ("1", TEXT, None)


@pytest.mark.parametrize(
    ("inner", "outer"),
    [
        ({"error": "gone"}, {}),
        ({"error": "gone", "response": TEXT}, {"response": TEXT}),
        ({"response": TEXT}, {"error": "gone"}),
    ],
)
def test_a_call_that_failed_says_so(inner: dict[str, Any], outer: dict[str, Any]) -> None:
    """
    Whichever of its spans knows it: some say nothing of a stream that died.
    """
    assert joined(call(2, around=1, **inner), call(1, **outer)).error == "gone"
