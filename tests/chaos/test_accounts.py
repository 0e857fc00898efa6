"""
The audit finds lies: a check that nothing can fail would prove nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from attrs import define, evolve

from hh_exporter import DropReason, Outcome, Settlement
from tests.chaos.accounts import Accounts, name_of
from tests.chaos.proxy import Exchange, Fault
from tests.scripted_server import ERROR_TEXT
from tests.updates import merge, say

REQUEST = b"POST /events/model/batch HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b"
ANSWER = b"HTTP/1.1 %d Whatever\r\nContent-Type: application/json\r\n\r\n%b"
PARTLY = b'{"event_ids":["good"],"errors":["%b"]}' % ERROR_TEXT.encode()
UPDATE = b"PUT /events HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b"
FAILED = b'{"event_ids":[],"errors":["%b"]}' % ERROR_TEXT.encode()


def exchange(status: int, body: bytes, *event_ids: str, passed: float = 1.0) -> Exchange:
    events = b",".join(b'{"event_id":"%b"}' % event_id.encode() for event_id in event_ids)
    sent = b'{"model_events":[%b]}' % events
    answer = ANSWER % (status, body)
    return Exchange(
        number=0,
        fault=Fault(),
        request=REQUEST % (len(sent), sent),
        answer=answer,
        length=len(answer),
        passed=int(len(answer) * passed),
        began=0.0,
        ended=1.0,
    )


def put(*numbers: int) -> Exchange:
    """
    An exchange of merged updates, later than all others.
    """
    sent = json.dumps(merge({"event_id": "good", **say(number)} for number in numbers)).encode()
    one = exchange(200, b"{}")
    return evolve(
        one, request=UPDATE % (len(sent), sent), number=min(numbers), began=1.0, ended=1.0
    )


def fate(outcome: Outcome, *event_ids: str, status: int | None = None) -> Settlement:
    reason = DropReason.CLOSED if outcome is Outcome.DROPPED else None
    return Settlement(outcome=outcome, reason=reason, event_ids=event_ids, status=status)


@define
class Case:
    """
    An honest exporter: an answer is lost, the next is mixed, the bad event gets its last chance.
    """

    accounts: Accounts
    wire: list[Exchange]

    @classmethod
    def honest(cls) -> Case:
        accounts = Accounts()
        accounts.note_push("good")
        accounts.note_push("bad", is_bad=True)
        accounts.stored["good"] = 2
        accounts.note_outcome(fate(Outcome.DELIVERED, "good", status=500))
        accounts.note_outcome(fate(Outcome.REJECTED, "bad", status=500))
        lost = exchange(500, PARTLY, "good", "bad", passed=0.1)
        mixed = exchange(500, PARTLY, "good", "bad")
        numbers = [accounts.note_update("good") for _ in range(3)]
        accounts.stored.update(map(name_of, numbers))
        delivered = fate(Outcome.DELIVERED, *["good"] * 3)
        accounts.note_outcome(evolve(delivered, is_update=True))
        return cls(accounts, [lost, mixed, exchange(500, FAILED, "bad"), put(1, 2), put(3)])

    def replace(self, event_id: str, *fates: Settlement) -> None:
        kept = [(i, s) for i, s in self.accounts.settlements if i != event_id]
        self.accounts.settlements = kept + [(event_id, one) for one in fates]


def test_an_honest_exporter_passes() -> None:
    """
    A copy for an answer that was lost, and a rejection after a second chance, are no lies.
    """
    case = Case.honest()

    case.accounts.audit(case.wire)


LIES: dict[str, Callable[[Case], object]] = {
    "0 outcomes": lambda case: case.replace("good"),
    "2 outcomes": lambda case: case.accounts.note_outcome(fate(Outcome.DELIVERED, "good")),
    "no answer told of it": lambda case: case.replace("bad", fate(Outcome.DELIVERED, "bad")),
    "said to be lost": lambda case: case.replace("good", fate(Outcome.DROPPED, "good")),
    "dropped as closed": lambda case: case.replace("bad", fate(Outcome.DROPPED, "bad")),
    "which the last answer did not say": lambda case: case.replace(
        "bad", fate(Outcome.REJECTED, "bad", status=400)
    ),
    "nothing wrong with it": lambda case: case.accounts.pushed.update(bad=False),
    "without a second chance": lambda case: case.wire.pop(2),
    "2 outcomes of 3 updates": lambda case: case.accounts.settlements.pop(),
    "update 3 is sent again": lambda case: case.wire.append(evolve(put(3), number=4)),
    "of 2 to 2 updates": lambda case: case.wire.pop(),
    "does not have update 1": lambda case: case.accounts.stored.update({name_of(1): 1}),
    "update 1 comes behind update 3": lambda case: case.wire.append(evolve(put(1), number=4)),
    "overtakes its event": lambda case: case.wire.insert(0, evolve(put(2), began=0.0)),
    "dropped as event_lost": lambda case: case.replace(
        "update of good",
        evolve(fate(Outcome.DROPPED, "good"), reason=DropReason.EVENT_LOST, is_update=True),
    ),
    "sent again, after an answer that told": lambda case: case.wire.append(
        exchange(503, b"", "good")
    ),
    "sent again, after an answer that might": lambda case: case.wire.insert(
        0, exchange(500, b'{"event_ids":["foreign"],"errors":["x"]}', "good")
    ),
    "as often as the wire says": lambda case: case.accounts.stored.update(good=1),
    "never pushed": lambda case: case.accounts.note_outcome(fate(Outcome.DELIVERED, "foreign")),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_found(lie: str) -> None:
    """
    Each thing that an exporter could get wrong is said in so many words.
    """
    case = Case.honest()
    LIES[lie](case)

    with pytest.raises(AssertionError, match=lie):
        case.accounts.audit(case.wire)


def test_a_slow_answer_may_be_missed() -> None:
    """
    Where time is real, an answer at the end of somebody's patience excuses one more attempt.
    """
    case = Case.honest()
    case.accounts.doubts_after = 0.5
    case.wire.append(evolve(case.wire[0]))

    case.accounts.audit(case.wire)
