"""
How many records in memory each session has: the last one to leave takes its bytes along.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from hh_exporter._records import Record, Session

__all__ = ["let_go"]


def let_go(
    holders: Mapping[Session, int], records: Sequence[Record]
) -> tuple[dict[Session, int], int]:
    """
    Say how many records their sessions have without *records*, and how many bytes that frees.
    """
    sessions = [session for record in records if (session := record.session) is not None]
    if not sessions:
        return {}, 0
    left = {session: holders.get(session, 0) - n for session, n in Counter(sessions).items()}
    return left, sum(len(session.data) for session, n in left.items() if not n)
