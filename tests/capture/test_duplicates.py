"""
One call, one event: what is joined, what is held for how long, and what comes too late.
"""

from __future__ import annotations

from typing import Any

import pytest

from hh_exporter import ModelEvent
from hh_exporter._capture.duplicates import HOLD, LONGEST, Call, Duplicates, Reported


def call(span_id: int, around: int | None = None, **fields: Any) -> Call:
    """
    Make a call whose event is named by its span, or by the one around it.
    """
    place = (str(span_id), None)
    response_id = fields.pop("response_id", None)
    event = ModelEvent(model="m", event_id=str(around or span_id), **fields)
    return Call(
        span_id=span_id, event=event, own_place=place, around=around, response_id=response_id
    )


def sent(duplicates: Duplicates, now: float, *, all_of_them: bool = False) -> list[str | None]:
    return [each.event.event_id for each in duplicates.take(now, all_of_them=all_of_them)]


@pytest.fixture
def duplicates() -> Duplicates:
    return Duplicates()


def test_a_call_waits_for_a_moment(duplicates: Duplicates) -> None:
    """
    A call is sent once no other span of it can be expected any more.
    """
    duplicates.add(call(1), 10.0)

    assert (len(duplicates), duplicates.due()) == (1, 10.0 + HOLD)
    assert sent(duplicates, 10.9) == []
    assert sent(duplicates, 11.0) == ["1"]
    assert (len(duplicates), duplicates.due()) == (0, None)


@pytest.mark.parametrize("count", [2, 3])
def test_calls_of_one_response_are_one(duplicates: Duplicates, count: int) -> None:
    """
    However many spans have the response id, in whatever traces, there is one event.
    """
    reported: list[Reported] = [
        duplicates.add(call(span_id, response_id="r"), span_id / 10)
        for span_id in range(1, count + 1)
    ]

    assert sent(duplicates, 2.0) == [reported[-1].event_id]
    assert sorted(reported[-1].span_ids) == list(range(1, count + 1))


def test_a_response_that_was_sent_just_now_is_known(duplicates: Duplicates) -> None:
    """
    Reading a stored response, or a span that ends late, adds nothing, for a second.
    """
    duplicates.add(call(1, response_id="r"), 0.0)
    assert sent(duplicates, 1.0) == ["1"]

    reported = duplicates.add(call(2, response_id="r"), 1.9)
    assert (reported.event_id, reported.span_ids, len(duplicates)) == ("1", [2], 0)
    duplicates.add(call(3, response_id="r"), 2.1)
    assert sent(duplicates, 4.0) == ["3"]


def test_others_are_not_joined(duplicates: Duplicates) -> None:
    """
    Calls with ids of their own, or with none, are calls of their own.
    """
    for each in (call(1), call(2), call(3, response_id="a"), call(4, response_id="b")):
        duplicates.add(each, 0.0)

    assert sent(duplicates, 1.0) == ["1", "2", "3", "4"]


def test_a_call_inside_another_waits_for_it(duplicates: Duplicates) -> None:
    """
    Without any id, the call of a client and the one of a framework around it are one.
    """
    duplicates.add(call(2, around=1, usage={"total_tokens": 3}), 0.0)
    assert sent(duplicates, 50.0) == []
    reported = duplicates.add(call(1, messages=[{"role": "user", "content": "Hi"}]), 50.0)

    assert sorted(reported.span_ids) == [1, 2]
    [only] = duplicates.take(51.0)
    assert only.event.usage == {"total_tokens": 3}
    assert only.event.messages == [{"role": "user", "content": "Hi"}]
    assert only.event.event_id == "1"


def test_retries_inside_one_call_are_one(duplicates: Duplicates) -> None:
    """
    What a framework tried twice is one call of it.
    """
    duplicates.add(call(2, around=1, error="503"), 0.0)
    duplicates.add(call(3, around=1, response_id="r", usage={"total_tokens": 3}), 5.0)
    duplicates.add(call(1, response_id="r"), 5.0)

    assert sent(duplicates, 6.0) == ["1"]


def test_three_levels_are_one(duplicates: Duplicates) -> None:
    """
    Agent framework, client and the client's own span.
    """
    duplicates.add(call(3, around=2), 0.0)
    duplicates.add(call(2, around=1), 0.0)
    reported = duplicates.add(call(1), 0.0)

    assert sorted(reported.span_ids) == [1, 2, 3]
    assert sent(duplicates, 1.0) == ["1"]


def test_a_call_that_ends_after_the_one_around_it_is_reported_by_it(duplicates: Duplicates) -> None:
    """
    A stream whose client's span ends last is joined while that is held, and known once it was sent.
    """
    duplicates.add(call(1), 0.0)
    first = duplicates.add(call(2, around=1, usage={"total_tokens": 3}), 0.5)
    [only] = duplicates.take(1.0)
    late = duplicates.add(call(3, around=2), 30.0)

    assert (only.event.event_id, only.event.usage) == ("1", {"total_tokens": 3})
    assert (first.event_id, late.event_id, len(duplicates)) == ("1", "1", 0)


def test_calls_that_end_long_after_those_around_them(duplicates: Duplicates) -> None:
    """
    The one that was sent reports each, however many are between.
    """
    duplicates.add(call(1), 0.0)
    assert sent(duplicates, 1.0) == ["1"]

    late = [duplicates.add(call(span_id, around=span_id - 1), 30.0) for span_id in (2, 3, 4)]
    assert [reported.event_id for reported in late] == ["1", "1", "1"]
    assert len(duplicates) == 0


def test_the_call_around_one_that_was_sent_early_is_reported_already(
    duplicates: Duplicates,
) -> None:
    """
    A flush sends the inner call in the place of the outer one, which then says nothing new.
    """
    duplicates.add(call(2, around=1), 0.0)
    assert sent(duplicates, 0.0, all_of_them=True) == ["1"]

    assert duplicates.add(call(1), 9.0).event_id == "1"
    assert len(duplicates) == 0


def test_an_outer_call_that_never_ends_is_waited_for_no_longer_than_a_minute(
    duplicates: Duplicates,
) -> None:
    """
    After a minute the inner one is sent, in its place; at once, if it is certain to end no more.
    """
    duplicates.add(call(2, around=1), 0.0)
    duplicates.add(call(4, around=3), 0.0)
    duplicates.give_up(3, 5.0)

    assert duplicates.due() == 5.0
    assert sent(duplicates, 5.0) == ["3"]
    assert duplicates.due() == LONGEST
    assert sent(duplicates, LONGEST) == ["1"]


def test_an_outer_span_that_is_no_call_leaves_the_inner_one_alone(duplicates: Duplicates) -> None:
    """
    What seemed to be a call was an agent: the call has its own id again.
    """
    duplicates.add(call(2, around=1), 0.0)
    [reported] = duplicates.leave(1, 3.0)

    assert (reported.event_id, reported.span_ids) == ("2", [2])
    assert sent(duplicates, 3.9) == []
    assert sent(duplicates, 4.0) == ["2"]


class TestJoining:
    """
    What the one event says.
    """

    def test_the_richest_wins_and_gaps_are_filled(self, duplicates: Duplicates) -> None:
        """
        Messages count most; counts, a cost and metadata of the poorer one are kept.
        """
        messages = [{"role": "user", "content": "Hi"}]
        usage = {"total_tokens": 9, "reasoning_tokens": 4}
        poor = call(2, response_id="r", usage=usage, cost=0.5, metadata={"scope": "p", "ttft": 1})
        rich = call(1, response_id="r", messages=messages, metadata={"scope": "r"})
        rich.event.usage = {"total_tokens": 10}
        duplicates.add(poor, 0.0)
        duplicates.add(rich, 0.0)

        [only] = duplicates.take(1.0)
        event = only.event
        assert event.messages == messages
        assert event.usage == {"total_tokens": 10, "reasoning_tokens": 4}
        assert event.cost == 0.5
        assert event.metadata == {"scope": "r", "ttft": 1}

    @pytest.mark.parametrize("is_first", [True, False])
    def test_of_two_traces_the_one_with_a_parent_has_the_place(
        self, duplicates: Duplicates, *, is_first: bool
    ) -> None:
        """
        The client's root span takes the framework's place, whichever ends first.
        """
        child = call(1, response_id="r", parent_id="p", session_id="s")
        root = call(2, response_id="r", session_id="t", usage={"total_tokens": 3})
        for each in (child, root) if is_first else (root, child):
            duplicates.add(each, 0.0)

        [only] = duplicates.take(1.0)
        event = only.event
        assert (event.event_id, event.parent_id, event.session_id) == ("1", "p", "s")
        assert event.usage == {"total_tokens": 3}

    def test_one_that_waits_for_a_call_around_it_still_waits(self, duplicates: Duplicates) -> None:
        """
        A third span with the same response id does not hide that the two are inside a call.
        """
        duplicates.add(call(2, around=1, response_id="r"), 0.0)
        duplicates.add(call(3, response_id="r"), 0.0)
        duplicates.add(call(1), 2.0)

        assert sent(duplicates, 3.0) == ["1"]


def test_too_many_are_not_held(duplicates: Duplicates) -> None:
    """
    A thousand calls wait at most; the oldest are sent.
    """
    for span_id in range(1, 1_004):
        duplicates.add(call(span_id), 0.0)

    assert sent(duplicates, 0.0) == ["1", "2", "3"]
