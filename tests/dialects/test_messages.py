"""
Records as messages of a stream, and back.
"""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hh_exporter._dialects.messages import OutMessage, read_message, write_message
from hh_exporter._records import MAIN, OTHERS, UPDATES, Record, Session

ID = "Nats-Msg-Id"


def write(record: Record, session: Session | None = None, maker: str = "me") -> OutMessage:
    return write_message((record,), record.data, session, maker)


def id_of(record: Record, session: Session | None = None, maker: str = "me") -> str:
    return write(record, session, maker).headers[ID]


def on_the_way(headers: dict[str, str]) -> dict[str, str]:
    """
    Change headers as clients and servers do: line ends become spaces, ends are stripped.
    """
    return {
        name: value.replace("\r", " ").replace("\n", " ").strip() for name, value in headers.items()
    }


@given(
    event_id=st.text(min_size=1),
    data=st.binary(min_size=1).filter(lambda data: b"\n" not in data),
    route=st.sampled_from([MAIN, OTHERS, UPDATES]),
    session=st.none() | st.tuples(st.text(min_size=1), st.binary()),
)
def test_a_record_comes_back_as_it_was(
    event_id: str, data: bytes, route: str, session: tuple[str, bytes] | None
) -> None:
    """
    With any id, on any route, with and without what announces its session.
    """
    event_id = event_id.encode("utf-8", "replace").decode()
    announced = None
    if session is not None:
        announced = Session(session[0].encode("utf-8", "replace").decode(), session[1])
    message = write(Record(event_id, data, 0.0, route=route), announced)

    record = read_message(message.data, on_the_way(message.headers), 5.0)

    assert record is not None
    assert (record.event_id, record.data, record.route) == (event_id, data, route)
    assert record.pushed_at == 5.0
    if announced is None:
        assert record.session is None
    else:
        assert record.session is not None
        assert record.session.session_id == announced.session_id
        assert record.session.data == announced.data


@pytest.mark.parametrize(
    "headers", [None, {}, {ID: "an-id"}, {ID: "/abc"}, {"Hh-Route": OTHERS}, {ID: ""}]
)
def test_a_message_of_others_makes_no_record(headers: dict[str, str] | None) -> None:
    """
    Without an id of ours there is none.
    """
    assert read_message(b"{}", headers, 0.0) is None


def test_a_message_without_contents_makes_no_record() -> None:
    """
    An event has at least two brackets.
    """
    assert read_message(b"", {ID: "an-id/1"}, 0.0) is None


def test_the_same_event_is_the_same_message() -> None:
    """
    It is published again as it was, with or without its session.
    """
    first, again = (Record("a", b'{"x":1}', 0.0) for _ in range(2))

    assert id_of(first) == id_of(again, Session("s", b"{}"))


def test_the_same_event_with_other_contents_is_another_message() -> None:
    """
    What a program pushes last must not be taken for what it pushed first.
    """
    assert id_of(Record("a", b"1", 0.0)) != id_of(Record("a", b"2", 0.0))


def test_each_process_makes_the_same_message_of_an_event() -> None:
    """
    Whichever library computes the checksum: the event may come from a spool.
    """
    data = b'{"x":1}'

    assert id_of(Record("a", data, 0.0)) == f"a/{zlib.crc32(data):08x}"


def test_equal_updates_are_two_messages() -> None:
    """
    A score that is set, changed and set again is set.
    """
    first, second = (Record("a", b"{}", 0.0, route=UPDATES) for _ in range(2))
    first.seq, second.seq = 1, 2

    ids = {id_of(first), id_of(second), id_of(first, maker="b")}

    assert len(ids) == 3
