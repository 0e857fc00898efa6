"""
What is asked of the consumer: counted by what the server says of it.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from hh_exporter._fleet.pulls import HEARTBEAT, Pull, Pulls


def ask(pulls: Pulls, room: int = 100, *, least: int = 10, now: float = 0.0) -> dict[str, Any]:
    """
    Ask, and read the request.
    """
    pull = pulls.ask(room, least, 1000, now)
    assert pull is not None
    body: dict[str, Any] = json.loads(pull.body)
    return body | {"number": pull.number}


def asks_nothing(pulls: Pulls, room: int = 100, *, now: float = 0.0) -> bool:
    return pulls.ask(room, 10, 1000, now) is None


def test_it_asks_for_what_there_is_room_for() -> None:
    """
    With a heartbeat and a limit of bytes, and no more while that may still come.
    """
    pulls = Pulls()
    body = ask(pulls, 100)

    assert body["batch"] == 100
    assert body["max_bytes"] == 1000
    assert body["idle_heartbeat"] * 2 <= body["expires"]
    assert asks_nothing(pulls)


def test_little_room_is_worth_no_request() -> None:
    """
    A request for each message that is done would double the traffic.
    """
    pulls = Pulls()
    ask(pulls, 100)
    for _ in range(9):
        pulls.note_message(1.0)
    assert asks_nothing(pulls)
    pulls.note_message(1.0)

    assert ask(pulls)["batch"] == 10


@pytest.mark.parametrize("status", ["404", "408", "409"])
def test_a_request_that_ends_says_what_is_missing(status: str) -> None:
    """
    Messages name no request, so what came of this one is not known otherwise.
    """
    pulls = Pulls()
    number = ask(pulls, 100)["number"]
    for _ in range(30):
        pulls.note_message(1.0)
    pulls.note_status(number, {"Status": status, "Nats-Pending-Messages": "70"}, 2.0)

    assert pulls.asked == 0
    assert ask(pulls, 70, now=3.0)["batch"] == 70


def test_a_request_that_is_filled_is_no_fault() -> None:
    """
    The server says so by 409, too, and the next request follows at once.
    """
    pulls = Pulls()
    number = ask(pulls, 10)["number"]
    for _ in range(10):
        pulls.note_message(1.0)
    headers = {"Status": "409", "Description": "Batch Completed", "Nats-Pending-Messages": "0"}
    pulls.note_status(number, headers | {"Nats-Pending-Bytes": "500"}, 1.0)

    assert not pulls.fault
    assert ask(pulls, 10, now=1.0)["batch"] == 10


def test_without_a_leader_it_asks_again_soon() -> None:
    """
    Nobody read the request (503): all of it is missing, and an election goes on.
    """
    pulls = Pulls()
    number = ask(pulls, 100)["number"]
    # As nats-py reads what the server says.
    headers = {"Status": "503", "Description": "Nats-Subject: $JS.API.CONSUMER.MSG.NEXT.S.c"}
    pulls.note_status(number, headers, 1.0)

    assert pulls.asked == 0
    assert "no leader" in pulls.fault
    assert asks_nothing(pulls, now=1.2)
    assert pulls.look_at(1.2) == 1.25
    assert ask(pulls, now=1.25)["batch"] == 100


def test_an_alive_request_is_left_alone() -> None:
    """
    The idle heartbeat is a word.
    """
    pulls = Pulls()
    number = ask(pulls, 100)["number"]
    for beat in range(1, 10):
        pulls.note_status(number, {"Status": "100", "Description": "Idle Heartbeat"}, 5.0 * beat)
        assert asks_nothing(pulls, now=5.0 * beat + HEARTBEAT)


def test_without_a_word_everything_is_asked_anew() -> None:
    """
    A request that was lost with its server is not waited for.
    """
    pulls = Pulls()
    ask(pulls, 100)
    assert asks_nothing(pulls, now=2 * HEARTBEAT - 0.1)
    assert pulls.look_at(0.0) == 2 * HEARTBEAT

    assert ask(pulls, 100, now=2.0 * HEARTBEAT)["batch"] == 100
    assert pulls.fault == "the consumer does not answer"
    pulls.note_message(30.0)
    assert not pulls.fault


def test_a_message_larger_than_a_request_takes_comes_by_itself() -> None:
    """
    Else the consumer would stop before it for ever.
    """
    pulls = Pulls()
    number = ask(pulls, 100)["number"]
    headers = {"Status": "409", "Description": "Message Size Exceeds MaxBytes"}
    pulls.note_status(number, headers | {"Nats-Pending-Messages": "100"}, 1.0)
    body = ask(pulls, 100, now=1.0)

    assert body["batch"] == 1
    assert "max_bytes" not in body
    pulls.note_message(1.0)
    assert ask(pulls, 100, now=1.0)["max_bytes"] == 1000


def test_numbers_are_not_used_twice() -> None:
    """
    What is said of a request of an inbox that is gone is about none of this one.
    """
    pulls = Pulls()
    first = pulls.ask(10, 1, 1000, 0.0)
    pulls.reset()
    second = pulls.ask(10, 1, 1000, 0.0)

    assert isinstance(first, Pull)
    assert isinstance(second, Pull)
    assert first.number != second.number
