"""
When to send again what failed in passing.

Pure: decisions about delays on top of tenacity, which runs the attempts. This
is the only retry layer in the house; time comes from our clock, since tenacity's
own delay stops read the real one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from attrs import field, frozen
from attrs.validators import optional
from tenacity import RetryCallState

from hh_exporter._settings import Kind, factor, seconds

if TYPE_CHECKING:
    from tenacity.wait import WaitBaseT

__all__ = ["RetryPolicy", "parse_retry_after"]

_callable: Kind[Any] = Kind("a wait of tenacity", callable)


@frozen(kw_only=True)
class RetryPolicy:
    """
    How long to keep trying, and how long to wait in between, in seconds.
    """

    base: float = field(default=0.5, validator=seconds())
    """Upper bound of the first delay."""
    factor: float = field(default=2.0, validator=factor())
    """By how much the bound grows with each attempt."""
    max_delay: float = field(default=30.0, validator=seconds())
    """Where the bound stops growing."""
    max_elapsed: float = field(default=300.0, validator=seconds(zero=True))
    """
    An event that failed for this long is dropped as `retries_exhausted`. Time
    in which nothing was sent at the server's wish does not count.
    """
    retry_after_cap: float = field(default=300.0, validator=seconds(zero=True))
    """The longest Retry-After that is believed."""
    wait: WaitBaseT | None = field(default=None, validator=optional(_callable))
    """Any `wait` of tenacity, in place of base, factor and max_delay."""

    def next_delay(self, state: RetryCallState, random: Callable[[], float]) -> float:
        """
        Compute how long to back off after the attempt that *state* describes.

        Args:
            state: tenacity's account of the attempts so far; the first is 1.
            random: A source of numbers from 0 to 1, for the jitter.

        Returns:
            Seconds to wait. A Retry-After comes on top: it is a floor, and
            the delay is its jitter, so clients don't return all at once.
        """
        if self.wait is not None:
            return float(self.wait(state))
        try:
            bound = self.base * self.factor ** (state.attempt_number - 1)
        except OverflowError:
            bound = self.max_delay
        # Full jitter: a fleet restarted together must not come back together.
        return min(bound, self.max_delay) * random()


def parse_retry_after(value: str, wall: float) -> float | None:
    """
    Read a Retry-After field, in either of its forms (RFC 9110 §10.2.3).

    Args:
        value: The field as it was sent.
        wall: The Unix time, for the form that is a date.

    Returns:
        Seconds from now, at least 0.0; None where the field is absent or is
        neither form.
    """
    value = value.strip()
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", value):
        return float(value)
    try:
        date = parsedate_to_datetime(value)
        if date.tzinfo is None:  # as asctime writes it, and as "-0000" is read
            date = date.replace(tzinfo=UTC)
        return max(0.0, date.timestamp() - wall)
    except (TypeError, ValueError, OverflowError):
        return None
