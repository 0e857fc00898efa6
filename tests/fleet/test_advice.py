"""
What of a fleet's settings loses events is said, with what to set.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import attrs
import pytest

from hh_exporter._fleet.advice import KEYS, Advice, compare
from hh_exporter._fleet.plan import Names, Plan
from hh_exporter._fleet.streams import ConsumerState, Replica, State, StreamState
from hh_exporter.exceptions import ConfigError
from tests.docs.pages import PAGES

NAMES = Names()
PLAN = Plan(max_bytes=10_000_000, dead_max_bytes=1_000_000)
REPLICA = Replica(name="n2", is_current=True, is_offline=False, lag=0)


def make_stream(config: Mapping[str, Any], **state: Any) -> StreamState:
    made = StreamState(
        config=config,
        messages=0,
        bytes=0,
        oldest_at=None,
        last_seq=0,
        is_clustered=True,
        leader="n1",
        replicas=(REPLICA, attrs.evolve(REPLICA, name="n3")),
    )
    return attrs.evolve(made, **state)


def make_consumer(config: Mapping[str, Any], **state: Any) -> ConsumerState:
    made = ConsumerState(
        config=config,
        waiting=0,
        in_hand=0,
        redelivered=0,
        pulls=0,
        is_clustered=True,
        leader="n1",
        replicas=(REPLICA,),
        is_paused=False,
    )
    return attrs.evolve(made, **state)


def make_state(**parts: Any) -> State:
    """
    Make the state of what `--setup` makes, but for *parts*.
    """
    made = State(
        names=NAMES,
        events=make_stream(PLAN.events(3)),
        consumer=make_consumer(PLAN.consumer()),
        dead=make_stream(PLAN.dead(3)),
        max_payload=8 * 2**20,
    )
    return attrs.evolve(made, **parts)


def with_events(**settings: Any) -> State:
    return make_state(events=make_stream({**PLAN.events(3), **settings}))


def with_dead(**settings: Any) -> State:
    return make_state(dead=make_stream({**PLAN.dead(3), **settings}))


def with_consumer(**settings: Any) -> State:
    return make_state(consumer=make_consumer({**PLAN.consumer(), **settings}))


def test_what_setup_makes_is_right() -> None:
    """
    There is nothing to say of it, with as many relays as it is made for.
    """
    assert compare(make_state(), relays=12, prefetch=800) == []


WRONG: list[tuple[str, bool, State, str]] = [
    ("missing", True, make_state(events=None, consumer=None), "no stream HH_EVENTS"),
    ("missing", True, make_state(consumer=None), "no consumer relay"),
    ("missing", True, make_state(dead=None), "no stream HH_DEAD"),
    (
        "subjects",
        True,
        with_events(subjects=["other.>"]),
        "does not take hh_exporter.events.legacy",
    ),
    ("subjects", True, with_dead(subjects=["hh_exporter.dead"]), "hh_exporter.dead.legacy"),
    ("filter_subject", True, with_consumer(filter_subject="hh_exporter.events.v2"), "no app"),
    ("filter_subject", True, with_consumer(filter_subject="hh_exporter.events.v1"), "of that"),
    ("filter_subject", True, with_consumer(filter_subject=""), "takes >: events of other"),
    ("retention", True, with_events(retention="interest"), "retention workqueue"),
    ("retention", True, with_events(retention="limits"), "until the stream is full"),
    ("retention", True, with_dead(retention="interest"), "dead letters are lost"),
    ("discard", True, with_events(discard="old"), "HH_EVENTS has discard old"),
    ("discard", True, with_dead(discard="old"), "HH_DEAD has discard old"),
    ("max_age", True, with_events(max_age=60 * 10**9), "max_age 60 s"),
    ("storage", True, with_events(storage="memory"), "is in memory"),
    ("storage", True, with_dead(storage="memory"), "is in memory"),
    ("ack_policy", True, with_consumer(ack_policy="none"), "ack_policy none"),
    ("headers_only", True, with_consumer(headers_only=True), "headers_only"),
    ("max_deliver", True, with_consumer(max_deliver=5), "set max_deliver -1"),
    ("max_msg_size", True, with_events(max_msg_size=1_000_000), "set at least 1,048,000"),
    ("max_payload", True, make_state(max_payload=1_000_000), "max_payload 1,000,000"),
    (
        "paused",
        True,
        make_state(consumer=make_consumer(PLAN.consumer(), is_paused=True)),
        "resume it",
    ),
    ("max_bytes", False, with_events(max_bytes=-1), "70 % of its max_file_store"),
    ("max_bytes", False, make_state(max_storage=40_000_000), "of the 40,000,000"),
    ("max_msgs", False, with_events(max_msgs=1_000), "set max_msgs -1"),
    (
        "full",
        False,
        make_state(events=make_stream(PLAN.events(3), bytes=9_500_000)),
        "is 95% full: beyond that, apps keep",
    ),
    ("full", False, make_state(dead=make_stream(PLAN.dead(3), bytes=950_000)), "purge some"),
    ("ack_wait", False, with_consumer(ack_wait=6 * 10**9), "ack_wait 6 s"),
    ("ack_wait", False, with_consumer(backoff=[10**9, 60 * 10**9]), "backoff 1 s"),
    ("max_ack_pending", False, with_consumer(max_ack_pending=1_000), "want to hold 2,400"),
    ("duplicate_window", False, with_events(duplicate_window=60 * 10**9), "set 600 s"),
    ("replicas", False, with_events(num_replicas=1), "one replica in a cluster"),
    (
        "servers",
        False,
        make_state(events=make_stream(PLAN.events(3), leader=None)),
        "stream HH_EVENTS has no leader",
    ),
    (
        "servers",
        False,
        make_state(
            consumer=make_consumer(
                PLAN.consumer(), replicas=(attrs.evolve(REPLICA, is_offline=True),)
            )
        ),
        "consumer relay: its server n2 is away",
    ),
]


@pytest.mark.parametrize(
    ("key", "loses", "state", "words"),
    WRONG,
    ids=[f"{key}-{n}" for n, (key, *_) in enumerate(WRONG)],
)
def test_what_is_wrong_is_said(key: str, loses: bool, state: State, words: str) -> None:
    """
    One thing that is wrong is one piece of advice, under its key, and whether it loses events.
    """
    [advice] = compare(state, relays=3, prefetch=800)

    assert (advice.key, advice.loses_events) == (key, loses)
    assert words in advice.text


def test_all_that_may_be_wrong_has_its_case_and_its_row() -> None:
    """
    The page has a row for each key, and says alike which of them lose events.
    """
    rows = re.findall(r"^\| (\w+) \| (yes|no) \| .+ \|$", PAGES["fleet"], re.MULTILINE)

    assert dict(rows) == {key: "yes" if loses else "no" for key, loses, *_ in WRONG}
    assert {key for key, _ in rows} == KEYS


def test_the_worst_comes_first() -> None:
    """
    What loses events stands before what does not.
    """
    state = with_events(discard="old", max_bytes=-1, max_msgs=5, max_age=10**9)
    found = compare(state)

    assert [advice.loses_events for advice in found] == [True, True, False, False]


def test_a_small_limit_of_the_apps_fits_a_small_server() -> None:
    """
    What a server must take is said by the setting of the apps.
    """
    state = make_state(max_payload=100_000)

    assert [advice.key for advice in compare(state)] == ["max_payload"]
    assert compare(state, max_event_bytes=52_000) == []


@pytest.mark.parametrize(
    ("subject", "events", "dead"),
    [
        ("hh_exporter.events", "hh_exporter.events.v1", "hh_exporter.dead.v1"),
        ("acme.llm.events", "acme.llm.events.v1", "acme.llm.dead.v1"),
        ("events", "events.v1", "dead.v1"),
    ],
)
def test_dead_letters_go_beside_events(subject: str, events: str, dead: str) -> None:
    """
    The subject of dead letters follows from that of events, so that two fleets share neither.
    """
    names = Names(subject=subject, dialect="v1")

    assert (names.events, names.dead) == (events, dead)


@pytest.mark.parametrize(
    "wrong",
    [{"subject": "acme.dead"}, {"stream": "a.b"}, {"consumer": ""}, {"dead_stream": "HH_EVENTS"}],
)
def test_names_that_cannot_be_are_refused(wrong: dict[str, str]) -> None:
    """
    What the server would refuse, or would mix events and dead letters, is refused before.
    """
    with pytest.raises(ConfigError):
        Names(**wrong)


def test_advice_names_no_subject_twice() -> None:
    """
    A consumer with several filters is described by all of them.
    """
    state = with_consumer(filter_subject="", filter_subjects=["a.b", "c.*"])
    [advice] = compare(state)

    assert isinstance(advice, Advice)
    assert "takes a.b, c.*, which no app publishes" in advice.text
