"""
What the server says of a message in the subject that it is acknowledged on.

`$JS.ACK.<stream>.<consumer>.<delivered>.<sequence>.<consumer sequence>.<time>.<pending>`;
servers that have domains put the domain and a hash of the account before the stream, and may put
one more token at the end (nats-architecture-and-design, ADR-15).
"""

from __future__ import annotations

from attrs import frozen

from hh_exporter._fleet.plan import NANOSECONDS

__all__ = ["Metadata", "read_metadata"]

_PREFIX = ["$JS", "ACK"]
_PLAIN, _DOMAIN = 9, 11
"""How many tokens there are: without, and with domain and account, at least."""


@frozen
class Metadata:
    """
    A delivery of a message.
    """

    sequence: int
    """Its place in the stream."""
    delivered: int
    """How often it was given out, this time included."""
    published_at: float
    """Unix time at which the stream stored it."""


def read_metadata(reply: str) -> Metadata | None:
    """
    Read the subject on which a message is acknowledged; None if it is another.
    """
    tokens = reply.split(".")
    if tokens[:2] != _PREFIX:
        return None
    if len(tokens) == _PLAIN:
        numbers = tokens[4:8]
    elif len(tokens) >= _DOMAIN:
        numbers = tokens[6:10]
    else:
        return None
    try:
        delivered, sequence, _, published = map(int, numbers)
    except ValueError:
        return None
    return Metadata(sequence, delivered, published / NANOSECONDS)
