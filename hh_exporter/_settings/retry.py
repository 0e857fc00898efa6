"""
How long to keep trying, and how long to wait in between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import field, frozen
from attrs.validators import optional

from hh_exporter._settings.kinds import Kind, factor, seconds

if TYPE_CHECKING:
    from tenacity.wait import WaitBaseT

__all__ = ["RetryPolicy"]

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
    """The largest value of the bound."""
    max_elapsed: float = field(default=300.0, validator=seconds(zero=True))
    """
    An event that failed for this long is dropped as `retries_exhausted`. Time
    in which sending was paused, or the server asked for, does not count.
    """
    retry_after_cap: float = field(default=300.0, validator=seconds(zero=True))
    """The longest Retry-After that is obeyed; a longer one counts as this."""
    wait: WaitBaseT | None = field(default=None, validator=optional(_callable))
    """Any `wait` of tenacity, instead of base, factor and max_delay."""
