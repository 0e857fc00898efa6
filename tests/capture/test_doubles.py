"""
One call, one event: what is joined, what is held for how long, and what comes too late.
"""

from __future__ import annotations

from typing import Any

import pytest

from hh_exporter import ModelEvent
from hh_exporter._capture.doubles import HOLD, LONGEST, Call, Doubles, Told


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


def sent(doubles: Doubles, now: float, *, all_of_them: bool = False) -> list[str | None]:
    return [each.event.event_id for each in doubles.take(now, all_of_them=all_of_them)]


@pytest.fixture
def doubles() -> Doubles:
    return Doubles()


def test_a_call_waits_for_a_moment(doubles: Doubles) -> None:
    """
    A call is sent once no other span of it can be expected any more.
    """
    doubles.add(call(1), 10.0)

    assert (len(doubles), doubles.due()) == (1, 10.0 + HOLD)
    assert sent(doubles, 10.9) == []
    assert sent(doubles, 11.0) == ["1"]
    assert (len(doubles), doubles.due()) == (0, None)


@pytest.mark.parametrize("count", [2, 3])
def test_calls_of_one_response_are_one(doubles: Doubles, count: int) -> None:
    """
    However many spans have the response id, in whatever traces, there is one event.
    """
    told: list[Told] = [
        doubles.add(call(span_id, response_id="r"), span_id / 10) for span_id in range(1, count + 1)
    ]

    assert sent(doubles, 2.0) == [told[-1].event_id]
    assert sorted(told[-1].span_ids) == list(range(1, count + 1))


def test_a_response_that_was_sent_just_now_is_known(doubles: Doubles) -> None:
    """
    Reading a stored response, or a span that ends late, tells nothing new, for a second.
    """
    doubles.add(call(1, response_id="r"), 0.0)
    assert sent(doubles, 1.0) == ["1"]

    told = doubles.add(call(2, response_id="r"), 1.9)
    assert (told.event_id, told.span_ids, len(doubles)) == ("1", [2], 0)
    doubles.add(call(3, response_id="r"), 2.1)
    assert sent(doubles, 4.0) == ["3"]


def test_others_are_not_joined(doubles: Doubles) -> None:
    """
    Calls with ids of their own, or with none, are calls of their own.
    """
    for each in (call(1), call(2), call(3, response_id="a"), call(4, response_id="b")):
        doubles.add(each, 0.0)

    assert sent(doubles, 1.0) == ["1", "2", "3", "4"]


def test_a_call_inside_another_waits_for_it(doubles: Doubles) -> None:
    """
    Without any id, the call of a client and the one of a framework around it are one.
    """
    doubles.add(call(2, around=1, usage={"total_tokens": 3}), 0.0)
    assert sent(doubles, 50.0) == []
    told = doubles.add(call(1, messages=[{"role": "user", "content": "Hi"}]), 50.0)

    assert sorted(told.span_ids) == [1, 2]
    [only] = doubles.take(51.0)
    assert only.event.usage == {"total_tokens": 3}
    assert only.event.messages == [{"role": "user", "content": "Hi"}]
    assert only.event.event_id == "1"


def test_retries_inside_one_call_are_one(doubles: Doubles) -> None:
    """
    What a framework tried twice is one call of it.
    """
    doubles.add(call(2, around=1, error="503"), 0.0)
    doubles.add(call(3, around=1, response_id="r", usage={"total_tokens": 3}), 5.0)
    doubles.add(call(1, response_id="r"), 5.0)

    assert sent(doubles, 6.0) == ["1"]


def test_three_levels_are_one(doubles: Doubles) -> None:
    """
    Agent framework, client and the client's own span.
    """
    doubles.add(call(3, around=2), 0.0)
    doubles.add(call(2, around=1), 0.0)
    told = doubles.add(call(1), 0.0)

    assert sorted(told.span_ids) == [1, 2, 3]
    assert sent(doubles, 1.0) == ["1"]


def test_a_call_that_ends_after_the_one_around_it_is_told_in_it(doubles: Doubles) -> None:
    """
    A stream whose client's span ends last is joined while that is held, and known once it was sent.
    """
    doubles.add(call(1), 0.0)
    first = doubles.add(call(2, around=1, usage={"total_tokens": 3}), 0.5)
    [only] = doubles.take(1.0)
    late = doubles.add(call(3, around=2), 30.0)

    assert (only.event.event_id, only.event.usage) == ("1", {"total_tokens": 3})
    assert (first.event_id, late.event_id, len(doubles)) == ("1", "1", 0)


def test_calls_that_end_long_after_those_around_them(doubles: Doubles) -> None:
    """
    Each is told in the one that was sent, however many are between.
    """
    doubles.add(call(1), 0.0)
    assert sent(doubles, 1.0) == ["1"]

    late = [doubles.add(call(span_id, around=span_id - 1), 30.0) for span_id in (2, 3, 4)]
    assert [told.event_id for told in late] == ["1", "1", "1"]
    assert len(doubles) == 0


def test_what_is_around_a_call_that_was_sent_early_is_told_already(doubles: Doubles) -> None:
    """
    A flush sends the inner call in the place of the outer one, which then says nothing new.
    """
    doubles.add(call(2, around=1), 0.0)
    assert sent(doubles, 0.0, all_of_them=True) == ["1"]

    assert doubles.add(call(1), 9.0).event_id == "1"
    assert len(doubles) == 0


def test_an_outer_call_that_never_ends_is_waited_for_no_longer_than_a_minute(
    doubles: Doubles,
) -> None:
    """
    After a minute the inner one is sent, in its place; at once, if it is certain to end no more.
    """
    doubles.add(call(2, around=1), 0.0)
    doubles.add(call(4, around=3), 0.0)
    doubles.give_up(3, 5.0)

    assert doubles.due() == 5.0
    assert sent(doubles, 5.0) == ["3"]
    assert doubles.due() == LONGEST
    assert sent(doubles, LONGEST) == ["1"]


def test_an_outer_span_that_is_no_call_leaves_the_inner_one_alone(doubles: Doubles) -> None:
    """
    What seemed to be a call was an agent: the call has its own id again.
    """
    doubles.add(call(2, around=1), 0.0)
    [told] = doubles.leave(1, 3.0)

    assert (told.event_id, told.span_ids) == ("2", [2])
    assert sent(doubles, 3.9) == []
    assert sent(doubles, 4.0) == ["2"]


class TestJoining:
    """
    What the one event says.
    """

    def test_the_richest_wins_and_gaps_are_filled(self, doubles: Doubles) -> None:
        """
        Messages count most; counts, a cost and metadata of the poorer one are kept.
        """
        messages = [{"role": "user", "content": "Hi"}]
        usage = {"total_tokens": 9, "reasoning_tokens": 4}
        poor = call(2, response_id="r", usage=usage, cost=0.5, metadata={"scope": "p", "ttft": 1})
        rich = call(1, response_id="r", messages=messages, metadata={"scope": "r"})
        rich.event.usage = {"total_tokens": 10}
        doubles.add(poor, 0.0)
        doubles.add(rich, 0.0)

        [only] = doubles.take(1.0)
        event = only.event
        assert event.messages == messages
        assert event.usage == {"total_tokens": 10, "reasoning_tokens": 4}
        assert event.cost == 0.5
        assert event.metadata == {"scope": "r", "ttft": 1}

    @pytest.mark.parametrize("is_first", [True, False])
    def test_of_two_traces_the_one_with_a_parent_has_the_place(
        self, doubles: Doubles, *, is_first: bool
    ) -> None:
        """
        The client's root span is told where the framework's span is, whichever ends first.
        """
        child = call(1, response_id="r", parent_id="p", session_id="s")
        root = call(2, response_id="r", session_id="t", usage={"total_tokens": 3})
        for each in (child, root) if is_first else (root, child):
            doubles.add(each, 0.0)

        [only] = doubles.take(1.0)
        event = only.event
        assert (event.event_id, event.parent_id, event.session_id) == ("1", "p", "s")
        assert event.usage == {"total_tokens": 3}

    def test_one_that_waits_for_a_call_around_it_goes_on_waiting(self, doubles: Doubles) -> None:
        """
        A third span with the same response id does not hide that the two are inside a call.
        """
        doubles.add(call(2, around=1, response_id="r"), 0.0)
        doubles.add(call(3, response_id="r"), 0.0)
        doubles.add(call(1), 2.0)

        assert sent(doubles, 3.0) == ["1"]


def test_too_many_are_not_held(doubles: Doubles) -> None:
    """
    A thousand calls wait at most; the oldest are sent.
    """
    for span_id in range(1, 1_004):
        doubles.add(call(span_id), 0.0)

    assert sent(doubles, 0.0) == ["1", "2", "3"]
