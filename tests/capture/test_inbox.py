"""
Spans that have ended wait in a bounded deque, and what has no room is counted.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from hh_exporter._capture.inbox import ROOM, Inbox
from hh_exporter._capture.lineage import Started


def started(span_id: int) -> Started:
    return Started(None, span_id, 1, None, "", None)


@pytest.fixture
def calls() -> list[str]:
    return []


@pytest.fixture
def inbox(calls: list[str]) -> Inbox:
    return Inbox(lambda: calls.append("many"))


def test_the_oldest_is_taken_first(inbox: Inbox) -> None:
    """
    Spans leave in the order in which they ended, and then there is none.
    """
    spans = [started(number) for number in range(3)]
    for span in spans:
        assert inbox.add(span)

    assert [inbox.take() for _ in range(4)] == [*spans, None]


def test_what_has_no_room_is_counted_once(inbox: Inbox) -> None:
    """
    Nothing that waits is thrown away; who comes late is counted, in parts if there are many.
    """
    added = [inbox.add(started(number)) for number in range(ROOM + 7)]

    assert (sum(added), len(inbox)) == (ROOM, ROOM)
    assert [inbox.take_lost(4) for _ in range(3)] == [4, 3, 0]
    inbox.add(started(0))
    assert [inbox.take_lost(4) for _ in range(2)] == [1, 0]


def test_half_full_is_said_once_for_each_reading(inbox: Inbox, calls: list[str]) -> None:
    """
    Many spans are worth to be read now; that is said again only if some were read meanwhile.
    """
    for number in range(ROOM - 1):
        inbox.add(started(number))
    assert calls == ["many"]
    inbox.take()
    inbox.add(started(0))
    assert calls == ["many", "many"]


def test_threads_lose_no_count(inbox: Inbox) -> None:
    """
    However many threads end spans at once, each span is in the inbox or counted.
    """
    each, threads = 500, 40

    def end_some(_: int) -> None:
        for number in range(each):
            inbox.add(started(number))

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(end_some, range(threads)))

    # As many threads may find the last places free at once.
    assert ROOM <= len(inbox) <= ROOM + threads
    assert len(inbox) + inbox.take_lost(each * threads) == each * threads
