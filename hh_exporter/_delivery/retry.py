"""
When to send again what failed in passing.

Pure: decisions about delays for tenacity, which runs the attempts. There is no other
retry layer in the package; time comes from our clock, since tenacity's own stops read
the real one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime

from tenacity import RetryCallState

from hh_exporter._log import get_log
from hh_exporter._outcomes import Verdict
from hh_exporter._outside import comes_from_outside
from hh_exporter._settings.retry import RetryPolicy

__all__ = ["last_verdict", "next_delay", "parse_retry_after"]

log = get_log(__name__)


def next_delay(policy: RetryPolicy, state: RetryCallState, random: Callable[[], float]) -> float:
    """
    Compute how long to back off after the attempt that *state* describes.

    Args:
        policy: How fast delays grow, and up to where.
        state: tenacity's account of the attempts so far; the first is 1.
        random: A source of numbers from 0 to 1, for the jitter.

    Returns:
        Seconds to wait. A Retry-After comes on top: it is a floor, and
        the delay is its jitter, so clients don't return all at once.
    """
    if policy.wait is not None and (own := _ask(policy.wait, state)) is not None:
        return own
    try:
        bound = policy.base * policy.factor ** (state.attempt_number - 1)
    except OverflowError:
        bound = policy.max_delay
    # Full jitter: a fleet restarted together must not come back together.
    return min(bound, policy.max_delay) * random()


def _ask(wait: Callable[[RetryCallState], float], state: RetryCallState) -> float | None:
    """
    Ask the user's own *wait*; None where it fails, or returns no delay.
    """
    try:
        delay = float(wait(state))
    except BaseException as exc:  # its own, whatever it is: nothing awaits in there
        if comes_from_outside(exc):
            raise
        what = f"raised {type(exc).__name__}"
    else:
        if delay >= 0:
            return delay
        what = "returned no delay"
    log.error_once("hh_exporter: RetryPolicy.wait %s; it is ignored then; logged once", what)
    return None


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


def last_verdict(state: RetryCallState) -> Verdict:
    """
    Return what the last attempt came to.
    """
    assert state.outcome is not None  # noqa: S101
    verdict: Verdict = state.outcome.result()
    return verdict
