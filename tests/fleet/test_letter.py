"""
A dead letter as a message: what a relay writes is what an operator reads.
"""

from __future__ import annotations

import attrs
import pytest

from hh_exporter._dialects.messages import OutMessage, read_message, write_message
from hh_exporter._fleet.letter import Fate, read_letter, revive_letter, write_letter
from hh_exporter._outcomes import DropReason, Outcome
from hh_exporter._records import UPDATES, Record, Session

REFUSED = Fate(
    outcome=Outcome.REJECTED, reason=None, status=400, answer='{"error": "50 % ·\r\nno model"} '
)
SESSION = Session("s 1", b',"session_properties":{}')
EVENT = write_message([Record("a b/c", b"{}", 0.0)], b'{"n":1}', SESSION, "m")
UPDATE = write_message([Record("e", b"{}", 0.0, None, UPDATES)], b"{}", None, "maker")


def write(headers: dict[str, str], fate: Fate = REFUSED, **changes: int) -> dict[str, str]:
    return write_letter(
        headers,
        fate,
        event_id="e",
        sequence=12,
        published_at=1_750_000_000.25,
        relay="host·1",
        **changes,
    )


def test_a_letter_is_read_as_it_was_written() -> None:
    """
    The event, its session, whose dialect it speaks, and why it died.
    """
    letter = read_letter(
        EVENT.data, write(EVENT.headers), subject="x.dead.v1", sequence=3, died_at=2e9
    )

    assert attrs.asdict(letter) == {
        "sequence": 3,
        "dialect": "v1",
        "event_id": "a b/c",
        "data": b'{"n":1}',
        "route": "",
        "session_id": "s 1",
        "session": SESSION.data,
        "published_at": 1_750_000_000.25,
        "died_at": 2e9,
        "outcome": "rejected",
        "reason": "",
        "status": 400,
        "answer": '{"error": "50 % ·\r\nno model"}',
        "relay": "host·1",
    }


def test_what_is_not_known_is_left_out() -> None:
    """
    An event that was dropped has a reason, and no answer of a server.
    """
    fate = Fate(
        outcome=Outcome.DROPPED, reason=DropReason.RETRIES_EXHAUSTED, status=None, answer=""
    )
    headers = write(UPDATE.headers, fate)
    letter = read_letter(UPDATE.data, headers, subject="dead.legacy", sequence=3, died_at=2e9)

    assert (letter.reason, letter.status, letter.answer) == ("retries_exhausted", None, "")
    assert (letter.event_id, letter.route, letter.session) == ("e", UPDATES, None)


def test_headers_are_plain_and_have_room() -> None:
    """
    Nothing that a server or a client changes; long words are cut, or left out if they must.
    """
    long = attrs.evolve(REFUSED, answer="·\n" * 9_000)
    headers = write(EVENT.headers, long)
    told = read_letter(b"{}", headers, subject="dead.v1", sequence=3, died_at=2e9).answer

    assert all(value.isprintable() and value.isascii() for value in headers.values())
    assert len(told.encode()) in range(4_090, 4_097)
    assert set(told) == {"·", "\n"}
    assert "Hh-Answer" not in write(EVENT.headers, long, room=4_096)


def test_a_letter_has_one_id_whoever_writes_it() -> None:
    """
    Not that of its event, which is another message.
    """
    first = write(EVENT.headers)["Nats-Msg-Id"]
    again = write_letter(
        EVENT.headers, REFUSED, event_id="e", sequence=12, published_at=0.0, relay="other"
    )

    assert first == again["Nats-Msg-Id"] != EVENT.headers["Nats-Msg-Id"]
    assert first.startswith("a%20b%2Fc/dead.12.")


@pytest.mark.parametrize("first", [EVENT, UPDATE], ids=["event", "update"])
def test_an_event_that_is_revived_is_as_it_was(first: OutMessage) -> None:
    """
    But for its id, which no stream remembers; it does not grow with each death.
    """
    revived = revive_letter(write(first.headers), sequence=3, died_at=1_750_000_000.5)
    twice = revive_letter(write(revived), sequence=4, died_at=1_750_000_001.5)

    assert set(revived) == set(first.headers)
    assert read(first.data, revived) == read(first.data, first.headers)
    assert len({h["Nats-Msg-Id"] for h in (first.headers, revived, twice)}) == 3
    assert len(twice["Nats-Msg-Id"]) == len(revived["Nats-Msg-Id"])


def read(data: bytes, headers: dict[str, str]) -> object:
    record = read_message(data, headers, 0.0)
    assert record is not None
    return record.event_id, record.data, record.route, record.session and record.session.data


def test_what_no_relay_wrote_is_read_as_far_as_it_goes() -> None:
    """
    Somebody else may publish to the stream.
    """
    headers = {"Hh-Status": "4²0", "Hh-Published": "never"}
    letter = read_letter(b"hello", headers, subject="hh_exporter.dead.v1", sequence=3, died_at=2e9)

    assert (letter.data, letter.event_id, letter.outcome) == (b"hello", "", "unknown")
    assert (letter.status, letter.published_at, letter.relay) == (None, None, "")
