"""
Whether anything may be sent at all.
"""

from __future__ import annotations

from math import inf

import pytest

from hh_exporter._delivery.breaker import Breaker


def suspended(chance: float = 1.0) -> Breaker:
    """
    Make a breaker that was refused at 100.0.
    """
    breaker = Breaker(lambda: chance)
    breaker.note_suspension(100.0, "HTTP 401: check api_key")
    return breaker


def failed_probe(breaker: Breaker, now: float) -> float:
    """
    Let a probe fail at *now*, and say how long the next one waits.
    """
    breaker.begin_probe()
    breaker.note_suspension(now, "HTTP 401: check api_key")
    breaker.end_probe(now)
    return breaker.free_at() - now


def test_nothing_is_blocked_from_the_start() -> None:
    """
    Nothing is held until a server says so.
    """
    breaker = Breaker(lambda: 1.0)

    assert not breaker.is_suspended
    assert breaker.free_at() == -inf


def test_a_hold_is_never_shortened() -> None:
    """
    The latest moment that any answer asked for holds for all.
    """
    breaker = Breaker(lambda: 1.0)

    breaker.hold(20.0)
    breaker.hold(10.0)

    assert breaker.free_at() == 20.0


def test_a_refusal_begins_one_episode() -> None:
    """
    Only the first answer that refuses us is worth a line of log; all are counted.
    """
    breaker = Breaker(lambda: 1.0)

    assert breaker.note_suspension(100.0, "HTTP 401: check api_key")
    assert not breaker.note_suspension(100.5, "HTTP 404: check base_url")
    assert (breaker.reason, breaker.setbacks) == ("HTTP 401: check api_key", 2)
    assert breaker.note_answer(created=True)
    assert not breaker.note_answer(created=True)
    assert not breaker.is_suspended
    assert breaker.free_at() == -inf
    assert breaker.note_suspension(200.0, "HTTP 401: check api_key")


@pytest.mark.parametrize(("chance", "expected"), [(0.0, 0.5), (0.5, 0.75), (1.0, 1.0)])
def test_half_of_a_probes_delay_is_jitter(chance: float, expected: float) -> None:
    """
    The first probe comes within a second, but not at once.
    """
    assert suspended(chance).free_at() == 100.0 + expected


def test_probes_come_at_widening_intervals() -> None:
    """
    Each failed probe doubles the interval, up to half a minute.
    """
    breaker = suspended()

    waits = [failed_probe(breaker, 200.0) for _ in range(8)]

    assert waits == [2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0, 30.0]


def test_a_new_episode_begins_with_short_intervals() -> None:
    """
    Once the server took something, what was before is forgotten.
    """
    breaker = suspended()
    for _ in range(5):
        failed_probe(breaker, 200.0)
    breaker.begin_probe()
    breaker.note_answer(created=True)
    breaker.end_probe(300.0)

    breaker.note_suspension(400.0, "HTTP 401: check api_key")

    assert breaker.free_at() == 401.0


def test_one_probe_at_a_time() -> None:
    """
    While one is out nothing else may leave.
    """
    breaker = suspended()

    breaker.begin_probe()
    assert (breaker.is_probing, breaker.free_at()) == (True, inf)
    breaker.end_probe(200.0)
    assert (breaker.is_probing, breaker.free_at()) == (False, 202.0)


def test_a_probe_that_succeeds_frees_all() -> None:
    """
    Even while it is still out: its answer is known.
    """
    breaker = suspended()
    breaker.begin_probe()

    breaker.note_answer(created=True)

    assert breaker.free_at() == -inf
    breaker.end_probe(200.0)
    assert breaker.free_at() == -inf


def test_somebody_who_waits_gets_a_probe_at_once() -> None:
    """
    It may leave now, and the interval stays as it was.
    """
    breaker = suspended()
    failed_probe(breaker, 200.0)

    breaker.probe_now()

    assert breaker.free_at() == -inf
    assert failed_probe(breaker, 200.0) == 4.0


def test_a_probe_keeps_to_a_hold() -> None:
    """
    A server that asked for silence gets it from probes too, wanted or not.
    """
    breaker = suspended()
    breaker.hold(500.0)

    assert breaker.free_at() == 500.0
    breaker.probe_now()
    assert breaker.free_at() == 500.0


def test_five_failures_in_a_row_open_it() -> None:
    """
    The fifth begins an episode; one created event in between, and the count begins anew.
    """
    breaker = Breaker(lambda: 1.0)

    assert not any(breaker.note_failure(100.0, "HTTP 503") for _ in range(4))
    breaker.note_answer(created=True)
    assert not any(breaker.note_failure(100.0, "HTTP 503") for _ in range(4))
    breaker.note_answer(created=False)
    assert not breaker.is_blocked
    assert breaker.note_failure(100.0, "HTTP 503")
    assert (breaker.is_blocked, breaker.is_suspended) == (True, False)
    assert (breaker.reason, breaker.free_at()) == ("HTTP 503", 101.0)
    assert not breaker.note_failure(100.5, "HTTP 502")
    assert breaker.setbacks == 11


@pytest.mark.parametrize("suspends", [True, False])
def test_only_a_created_event_lifts_it(suspends: bool) -> None:
    """
    Whatever else a server says to a probe, it shows nothing.
    """
    breaker = Breaker(lambda: 1.0)
    if suspends:
        breaker.note_suspension(100.0, "HTTP 401")
    else:
        for _ in range(5):
            breaker.note_failure(100.0, "HTTP 503")
    before = breaker.setbacks

    assert not breaker.note_answer(created=False)
    assert breaker.is_blocked
    assert breaker.setbacks == before + 1
    assert breaker.note_answer(created=True)
    assert not breaker.is_blocked
    assert breaker.accepted == 1


def test_a_refusal_suspends_what_is_open() -> None:
    """
    A server that failed and now refuses us begins an episode of its own.
    """
    breaker = Breaker(lambda: 1.0)
    for _ in range(5):
        breaker.note_failure(100.0, "HTTP 503")

    assert breaker.note_suspension(200.0, "HTTP 401: check api_key")
    assert breaker.is_suspended
    assert breaker.reason == "HTTP 401: check api_key"
    assert not breaker.note_failure(201.0, "HTTP 503")
    assert breaker.is_suspended


def may_end(
    breaker: Breaker, count: int = 1, *, is_known: bool = False, suspends: bool = True
) -> bool:
    return breaker.may_end(100.0, count, "HTTP 400", is_known=is_known, suspends=suspends)


@pytest.mark.parametrize("suspends", [True, False])
def test_five_events_in_a_row_may_end(suspends: bool) -> None:
    """
    With none created meanwhile, the fifth blocks; while sending is blocked none may.
    """
    breaker = Breaker(lambda: 1.0)

    assert all(may_end(breaker) for _ in range(4))
    breaker.note_answer(created=True)
    assert all(may_end(breaker) for _ in range(4))
    assert not breaker.is_blocked
    assert may_end(breaker, suspends=suspends)
    assert (breaker.is_blocked, breaker.is_suspended) == (True, suspends)
    assert breaker.probes_alone
    assert not may_end(breaker)
    assert not may_end(breaker, is_known=True)
    breaker.note_answer(created=True)
    assert not breaker.probes_alone
    assert may_end(breaker), "and what was before is forgotten"


def test_an_answer_that_would_end_too_many_ends_none() -> None:
    """
    Of a whole batch none ends by one answer; sending is blocked at once.
    """
    breaker = Breaker(lambda: 1.0)

    assert may_end(breaker, 3)
    assert not may_end(breaker, 3)
    assert breaker.is_blocked


def test_failures_and_ends_are_counted_together() -> None:
    """
    An outage that says now this, now that, is one all the same.
    """
    breaker = Breaker(lambda: 1.0)

    for _ in range(2):
        assert may_end(breaker)
        assert not breaker.note_failure(100.0, "HTTP 503")

    assert may_end(breaker)
    assert breaker.is_blocked


def test_events_that_others_are_created_beside_may_end() -> None:
    """
    They are no setbacks, however many one answer ends; a hundred such answers are enough.
    """
    breaker = Breaker(lambda: 1.0)

    assert all(may_end(breaker, 100, is_known=True) for _ in range(99))
    assert all(may_end(breaker) for _ in range(4))
    assert not breaker.is_blocked
    assert may_end(breaker, is_known=True)
    assert breaker.is_blocked


def test_other_trouble_forgets_no_ended_events() -> None:
    """
    Only a created event begins the count anew: an answer in between shows nothing.
    """
    breaker = Breaker(lambda: 1.0)

    assert all(may_end(breaker) for _ in range(4))
    breaker.note_answer(created=False)

    assert may_end(breaker)
    assert breaker.is_blocked
