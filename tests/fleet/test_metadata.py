"""
What the server says of a message in the subject that it is acknowledged on.
"""

from __future__ import annotations

import pytest

from hh_exporter._fleet.metadata import Metadata, read_metadata

METADATA = Metadata(sequence=17, delivered=2, published_at=1_700_000_000.5)
NUMBERS = "2.17.9.1700000000500000000.3"


@pytest.mark.parametrize(
    "reply",
    [
        f"$JS.ACK.HH_EVENTS.relay.{NUMBERS}",
        f"$JS.ACK.hub.ACCHASH.HH_EVENTS.relay.{NUMBERS}",
        f"$JS.ACK._.ACCHASH.HH_EVENTS.relay.{NUMBERS}.q1w2e3",
    ],
)
def test_both_forms_are_read(reply: str) -> None:
    """
    With a domain and an account in front, and perhaps a token behind, or without.
    """
    assert read_metadata(reply) == METADATA


@pytest.mark.parametrize(
    "reply",
    ["", "_INBOX.x.y", "$JS.ACK.S.c.1.2", "$JS.ACK.S.c.a.b.c.d.e", "$JS.ACK.1.2.3.4.5.6.7.8"],
)
def test_other_subjects_are_none(reply: str) -> None:
    """
    Statuses have no subject that acknowledges anything.
    """
    assert read_metadata(reply) is None
