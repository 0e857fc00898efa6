"""
The dialect of a stream: what it hands over, and how it reads what came back.
"""

from __future__ import annotations

import orjson
import pytest

from hh_exporter._dialects.jetstream import JetStreamDialect
from hh_exporter._dialects.messages import Receipt
from hh_exporter._dialects.registry import DIALECTS
from hh_exporter._outcomes import Outcome, Rest
from hh_exporter._records import UPDATES, Record
from hh_exporter.events import ModelEvent, SessionProperties

SUBJECT = "team.events"


@pytest.fixture(params=sorted(DIALECTS))
def dialect(request: pytest.FixtureRequest) -> JetStreamDialect:
    return JetStreamDialect(DIALECTS[request.param](), SUBJECT)


def record(event_id: str, data: bytes = b"{}", *, route: str = "", seq: int = 0) -> Record:
    made = Record(event_id, data, 0.0, route=route)
    made.seq = seq
    return made


def test_each_wire_has_its_subject(dialect: JetStreamDialect) -> None:
    """
    A relay takes what it can say.
    """
    assert dialect.batch_path() == dialect.single_path() == f"{SUBJECT}.{dialect.wire.name}"
    assert dialect.batch_path(UPDATES, "an-id") == dialect.batch_path()


def test_events_are_encoded_as_by_the_wire(dialect: JetStreamDialect) -> None:
    """
    The relay sends them as they are.
    """
    event = ModelEvent(model="m", event_id="a")
    session = SessionProperties(session_name="s")

    assert dialect.unstructure(event, "a") == dialect.wire.unstructure(event, "a")
    assert dialect.describe(session).data == dialect.wire.describe(session).data
    assert dialect.name == dialect.wire.name
    assert dialect.event_route == dialect.wire.event_route
    assert dialect.converter is dialect.wire.converter


def test_relayed_is_not_delivered(dialect: JetStreamDialect) -> None:
    """
    A stream is not the server.
    """
    assert dialect.outcome is Outcome.RELAYED


def test_updates_are_one_message_in_their_order(dialect: JetStreamDialect) -> None:
    """
    What is said last is what counts, however they come.
    """
    updates = [
        record("a", b'{"metadata":{"x":2}}', route=UPDATES, seq=8),
        record("a", b'{"metadata":{"x":1,"y":1}}', route=UPDATES, seq=7),
    ]

    [message] = dialect.wrap(updates, None, UPDATES).items

    assert orjson.loads(message.data) == {"metadata": {"x": 2, "y": 1}}


def read(dialect: JetStreamDialect, receipt: Receipt) -> tuple[set[str], Rest]:
    verdict = dialect.read(receipt, {"a", "b", "c"})
    return set(verdict.created), verdict.rest


@pytest.mark.parametrize(
    ("receipt", "rest"),
    [
        (Receipt(status=200, stored=("a", "b", "c")), Rest.NOTHING),
        (Receipt(status=200, stored=("a", "b"), too_large=("c",)), Rest.TOO_LARGE),
        (Receipt(status=200, too_large=("a", "b", "c")), Rest.TOO_LARGE),
        (Receipt(status=503, stored=("a",), too_large=("b",)), Rest.RETRY),
        (Receipt(status=503, failure="full"), Rest.RETRY),
        (Receipt(status=None, failure="no answer"), Rest.RETRY),
        (Receipt(status=None, failure="refused", hint="check user"), Rest.SUSPENDED),
        (Receipt(status=None, stored=("a",), hint="check user"), Rest.SUSPENDED),
    ],
)
def test_what_is_stored_is_done_and_the_rest_depends(
    dialect: JetStreamDialect, receipt: Receipt, rest: Rest
) -> None:
    """
    What is too large is given up only once all else is stored.
    """
    assert read(dialect, receipt) == (set(receipt.stored), rest)


def test_a_single_event_has_its_own_id(dialect: JetStreamDialect) -> None:
    """
    The server, which may make another, has not seen it yet.
    """
    verdict, event_id = dialect.read_single(Receipt(status=200, stored=("a",)), "a")

    assert verdict.rest is Rest.NOTHING
    assert event_id == "a"
