"""
How long to wait before the next attempt, and what a Retry-After says.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from math import inf
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tenacity import RetryCallState, wait_chain, wait_fixed

from hh_exporter import ConfigError, RetryPolicy
from hh_exporter._delivery.retry import next_delay, parse_retry_after

WALL = datetime(1994, 11, 6, 8, 49, 27, tzinfo=UTC).timestamp()
"""Ten seconds before the date in the examples of RFC 9110 §5.6.7."""


def after(attempt: int) -> RetryCallState:
    """
    Describe that *attempt* failed.
    """
    state = RetryCallState(retry_object=None, fn=None, args=(), kwargs={})  # type: ignore[arg-type]
    state.attempt_number = attempt
    return state


def longest(policy: RetryPolicy, attempt: int) -> float:
    return next_delay(policy, after(attempt), lambda: 1.0)


@pytest.fixture
def _far_from_greenwich(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "EST+5")
        time.tzset()
        yield
    time.tzset()


def test_the_bound_grows_by_the_factor_up_to_the_maximum() -> None:
    """
    Exponential backoff, from base to max_delay.
    """
    policy = RetryPolicy(base=0.5, factor=3.0, max_delay=10.0)

    assert [longest(policy, n) for n in range(1, 6)] == [0.5, 1.5, 4.5, 10.0, 10.0]


def test_jitter_is_full() -> None:
    """
    The delay is anywhere from zero to its bound, in proportion to the random number.
    """
    policy = RetryPolicy(base=4.0, factor=1.0)

    assert next_delay(policy, after(3), lambda: 0.0) == 0.0
    assert next_delay(policy, after(3), lambda: 0.25) == 1.0
    assert next_delay(policy, after(3), lambda: 1.0) == 4.0


@pytest.mark.parametrize("factor", [2, 2.0, 1e300])
def test_no_number_of_attempts_is_too_many(factor: float) -> None:
    """
    Where the power is beyond all numbers, the bound is the maximum.
    """
    for base in (1, 0.5):
        assert longest(RetryPolicy(base=base, factor=factor, max_delay=7.0), 10_000) == 7.0


def test_a_base_above_the_maximum_is_cut() -> None:
    """
    max_delay bounds the first delay too.
    """
    assert longest(RetryPolicy(base=60.0, max_delay=5.0), 1) == 5.0


def test_any_wait_of_tenacity_takes_the_place_of_ours() -> None:
    """
    It decides alone: no jitter of ours and no maximum.
    """
    policy = RetryPolicy(wait=wait_chain(wait_fixed(3), wait_fixed(90)), max_delay=1.0)

    assert [longest(policy, n) for n in (1, 2, 3)] == [3.0, 90.0, 90.0]


@settings(deadline=None)
@given(
    st.floats(1e-6, 1e6),
    st.floats(1, 1e6),
    st.floats(1e-6, 1e6),
    st.integers(1, 10_000),
    st.floats(0, 1),
)
def test_a_delay_is_within_its_bounds(
    base: float, factor: float, max_delay: float, attempt: int, chance: float
) -> None:
    """
    No policy gives a delay below zero, above the maximum, or that is no number.
    """
    policy = RetryPolicy(base=base, factor=factor, max_delay=max_delay)

    assert 0.0 <= next_delay(policy, after(attempt), lambda: chance) <= max_delay


@pytest.mark.parametrize(
    "wrong",
    [
        {"base": 0},
        {"base": -1.0},
        {"factor": 0.9},
        {"max_delay": 0.0},
        {"max_delay": inf},
        {"max_elapsed": -1},
        {"max_elapsed": "300"},
        {"retry_after_cap": float("nan")},
        {"wait": 3.0},
    ],
    ids=str,
)
def test_a_policy_is_checked(wrong: dict[str, Any]) -> None:
    """
    A value that can't be is refused by name.
    """
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        RetryPolicy(**wrong)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 120\t", 120.0),
        ("007", 7.0),
        ("1.5", 1.5),
        ("9" * 30, 1e30),
        ("9" * 400, inf),
    ],
    ids=lambda value: str(value)[:20],
)
def test_retry_after_in_seconds(value: str, seconds: float) -> None:
    """
    A number of seconds, and kindly a fraction, is what it says.
    """
    assert parse_retry_after(value, WALL) == pytest.approx(seconds)


@pytest.mark.usefixtures("_far_from_greenwich")
@pytest.mark.parametrize(
    "value",
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
    ],
    ids=["IMF-fixdate", "RFC 850", "asctime"],
)
def test_retry_after_as_a_date(value: str) -> None:
    """
    Each form of RFC 9110 §5.6.7 means UTC, wherever this machine is.
    """
    assert parse_retry_after(value, WALL) == 10.0
    assert parse_retry_after(value, WALL + 10.0) == 0.0
    assert parse_retry_after(value, WALL + 1e9) == 0.0


@pytest.mark.parametrize(
    "value",
    ["", " ", "soon", "-5", "+5", "1e5", "0x10", "1.", ".5", "1,5", "5s", "٣", "²", "NaN", "inf"],
)
def test_anything_else_is_no_retry_after(value: str) -> None:
    """
    What is neither form counts as absent; other digits than ASCII are none.
    """
    assert parse_retry_after(value, WALL) is None


weekdays = st.sampled_from(["Sun", "Sun,", "Sunday,", ""])
numbers = st.sampled_from(["06", "94", "0000", "0001", "9999", "99999999999", "-", "٣"])
fragments = numbers | st.sampled_from(["Nov", "08:49:37", "24:00", "GMT", "+9999", "-0000"])


@settings(deadline=None)
@given(
    st.text()
    | st.lists(fragments, max_size=9).map("-".join)
    | st.lists(fragments | weekdays, max_size=9).map(" ".join)
)
@example("Mon, 01 Jan 0001 00:00:00 +1400")
@example("Mon Jan  1 00:00:00 0001")
@example("Fri, 31 Dec 9999 23:59:59 -1400")
@example("Sun, 06 Nov 99999999999 08:49:37 GMT")
def test_any_field_is_read(value: str) -> None:
    """
    Whatever a server sends, it is absent or a number of seconds from zero.
    """
    seconds = parse_retry_after(value, WALL)

    assert seconds is None or seconds >= 0.0


def test_a_limit_may_be_nothing() -> None:
    """
    Who wants no retries, or believes no Retry-After, says 0.
    """
    policy = RetryPolicy(max_elapsed=0, retry_after_cap=0)

    assert (policy.max_elapsed, policy.retry_after_cap) == (0, 0)
