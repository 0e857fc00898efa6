"""
What a verdict means for one part: whether its records end, or how they are sent again.

It settles nothing, sends nothing, and asks nobody whether a record may end.
"""

from __future__ import annotations

from collections.abc import Sequence

from hh_exporter._delivery.parts import Part
from hh_exporter._outcomes import DropReason, Outcome, Rest, Verdict
from hh_exporter._records import Record
from hh_exporter._sessions import Sessions

__all__ = [
    "DROPPED",
    "REFUSED",
    "are_doubted",
    "divide",
    "fate_of",
    "first_failed_at",
    "learn",
    "leaves_no_hope",
    "refusal_at",
]

_DOUBTS_TO_WITHHOLD = 2

REFUSED = frozenset({Rest.INVALID, Rest.FAILED, Rest.TOO_LARGE, Rest.AMBIGUOUS})
"""Verdicts on records that the server processed and did not create."""

DROPPED = {Rest.TOO_LARGE: DropReason.TOO_LARGE, Rest.RETRY: DropReason.RETRIES_EXHAUSTED}
"""Verdicts by which records are dropped; by all others they are rejected."""


def leaves_no_hope(part: Part, verdict: Verdict, *, is_blamed: bool) -> bool:
    """
    Whether *verdict* ends what is left of *part*: no other body can be made of it.

    Args:
        part: What was sent.
        verdict: The verdict of its last attempt.
        is_blamed: Whether the server fails on this body while it accepts others.
    """
    match verdict.rest:
        case Rest.AMBIGUOUS:
            return True
        case Rest.RETRY:
            return not is_blamed
        case Rest.FAILED:
            return part.is_last
        case Rest.INVALID | Rest.TOO_LARGE:
            return part.is_lone and part.announced is None
        case _:
            return False


def divide(
    part: Part, rest: tuple[Record, ...], verdict: Verdict, *, is_blamed: bool
) -> list[Part]:
    """
    Make the parts in which *rest*, what is left of *part*, is sent again.
    """
    if part.announced is not None:
        if verdict.rest is Rest.INVALID or is_blamed:
            return [part.withhold(is_doubt=is_blamed)]
        if verdict.rest is Rest.TOO_LARGE and part.is_lone:
            return [part.withhold()]
    return part.divide(rest, is_failed=verdict.rest is Rest.FAILED)


def fate_of(verdict: Verdict) -> tuple[Outcome, DropReason | None, int | None]:
    """
    Say how records end that *verdict* leaves no hope: outcome, reason and HTTP status.
    """
    reason = DROPPED.get(verdict.rest)
    return Outcome.DROPPED if reason else Outcome.REJECTED, reason, verdict.status


def refusal_at(verdict: Verdict, accepted: int, on_wire: int) -> int:
    """
    Say how many answers had created events, or may have, when *verdict* refused some.

    Args:
        verdict: The refusal.
        accepted: How many answers have, with this one.
        on_wire: How many requests are under way. They may have left before an outage
            began, so their success shows nothing.
    """
    return accepted - 1 if verdict.created else accepted + on_wire


def are_doubted(records: Sequence[Record], accepted: int) -> bool:
    """
    Whether each of *records* was refused before, and others were created since.
    """
    return all(0 <= record.doubted_at < accepted for record in records)


def first_failed_at(records: Sequence[Record]) -> int | None:
    """
    Say how many answers had created events when the server had failed at each of *records*.
    """
    failed_at = [record.failed_at for record in records if record.failed_at is not None]
    return max(failed_at) if len(failed_at) == len(records) else None


def learn(sessions: Sessions, part: Part) -> None:
    """
    Note what the creation of an event shows about the session of *part*.
    """
    session = part.announced or part.withheld
    if session is None or (part.withheld and part.is_last):
        return  # what failed once may pass the second time for its own sake
    session.doubts += part.is_doubt
    if part.is_doubt and session.doubts < _DOUBTS_TO_WITHHOLD:
        return
    if part.withheld is None or sessions.is_known(session.session_id):
        sessions.learn(session.session_id)
    else:
        sessions.withhold(session.session_id, "the server refuses its properties")
