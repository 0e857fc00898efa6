"""
How many requests may be in flight: found by trying, within a ceiling.

Throughput decides: one more or one fewer is tried for a round of answers, and kept if the server
then took more for each, by Little's law: those under way over the seconds that an answer took.
So a far server gets many and one that only queues them gets few, and no latency has to be known
as the usual one: servers move, and the least that was ever seen would starve us. Only full
batches are judged, and only beside rounds of batches of that size; only while all slots are
needed; and only requests that began after the last change. A refusal or a timeout halves;
one HTTP 503 may be about what is in that body, so it takes two of them in a row. A probe that
fails shows that the server is gone, and not busy: then it begins anew.

After Netflix's concurrency-limits (Gradient2) and Vector's adaptive request concurrency. Their
users met limits that jitter drove to 1, since each slow answer counted; that never grew again
after a route became longer; and that grew without bound while nothing needed them.

Pure: it has no clock and no task. Used from the worker's loop alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import Final

from attrs import Factory, define, field, frozen

__all__ = ["Limiter"]

_FIRST: Final = 4

_WORTH: Final = 0.1
"""How much more throughput more slots must bring, as a power of their ratio: 7 % for twice."""

_ANSWERS: Final = 8
"""Answers of a round: jitter of half an answer's time changes their middle by a sixth."""

_FEWEST: Final = 4
"""The same, while the limit doubles: then little is enough to see that there is much to gain."""

_ALIKE: Final = 1.25
"""By how much sizes of batches may differ that are compared."""

_COMPARABLE: Final = 4
"""The same of those in one round: an update is far smaller than a batch of events."""

_CHANGED: Final = 1.5
"""How much longer answers take if something else has changed than the limit."""

_SHORTEST_REST, _LONGEST_REST = 2, 16
"""Rounds after which another number is tried, if the last one was not better."""

_FAR, _NEAR, _NEARER = 1 / 4, 1 / 2, 3 / 4
"""
Parts of the timeout that answers may take: beyond the first the limit is not doubled, beyond the
second not raised, beyond the third lowered.
"""

_PROBE: Final = -1
"""Stands for the limit of a request that is sent while there may be no others."""

_REFUSALS: Final = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)


@frozen
class _Round:
    """
    What was seen with one limit.
    """

    limit: int
    seconds: float
    """How long an answer took, on the average of the middle half."""
    size: float
    """Bytes of a body."""

    @property
    def worth(self) -> float:
        """
        Its throughput, by Little's law; that of more slots is worth a little less.
        """
        throughput = self.limit / self.seconds
        return float(throughput / self.limit**_WORTH)

    def is_like(self, other: _Round) -> bool:
        return max(self.size, other.size) <= _ALIKE * min(self.size, other.size)

    def is_of_another_route(self, before: _Round) -> bool:
        """
        Whether answers take longer than those *before* though no limit could make them so.

        If a server only queues requests, they take longer as there are more of them.
        """
        longest = before.seconds * max(1.0, self.limit / before.limit)
        return self.is_like(before) and self.seconds > _CHANGED * longest


@define(eq=False)
class Limiter:
    """
    The limit for one worker.

    Args:
        ceiling: The most that it may be.
        timeout: Seconds after which a request is given up.
    """

    ceiling: int
    timeout: float
    first: int = field(init=False)
    """What the limit is before anything is known."""
    limit: int = field(init=False)
    """How many requests may be in flight."""
    reason: str = field(default="no more are needed", init=False)
    """Why it is not higher, in words fit for a log."""
    is_needed: bool = field(default=False, init=False)
    """Whether a full batch had to wait for a slot in this round; the worker says so."""
    _change: int = field(default=0, init=False)
    """How often the limit was changed."""
    _seconds: list[float] = Factory(list)
    _sizes: list[int] = Factory(list)
    """Of the answers of this round."""
    _others: int = field(default=0, init=False)
    """How many were about bodies of quite another size, and were left out."""
    _before: _Round | None = field(default=None, init=False)
    """The last round."""
    _is_trial: bool = field(default=False, init=False)
    """Whether it had another limit, and decides whether this one is better."""
    _is_refused: bool = field(default=False, init=False)
    """Whether the server refused requests since a larger limit was found to be better."""
    _is_failing: bool = field(default=False, init=False)
    """Whether the last answer was 503: one alone may be about what is in that body."""
    _step: int = field(default=1, init=False)
    """In which direction is tried next: 1 or -1."""
    _doubles: bool = field(default=True, init=False)
    """Whether it is still far from what it should be."""
    _rest: int = field(default=0, init=False)
    """Rounds until another number is tried."""
    _next_rest: int = field(default=_SHORTEST_REST, init=False)
    """How long the rest is after the next number that was not better."""

    def __attrs_post_init__(self) -> None:
        self.limit = self.first = min(_FIRST, self.ceiling)

    def begin(self, *, is_probe: bool = False) -> int:
        """
        Note that a request begins; pass what is returned with its answer.

        Args:
            is_probe: Whether it is alone, since all sending is blocked.
        """
        return _PROBE if is_probe else self._change

    def note(
        self, change: int, status: int | None, seconds: float, size: int, *, is_known: bool = False
    ) -> None:
        """
        Note an answer, or that there was none in time.

        Args:
            change: What `begin` returned.
            status: Of HTTP; None if no answer came.
            seconds: How long it took.
            size: Bytes of the body, if it was of a full batch; else 0, which says nothing of speed.
            is_known: Whether the server had failed on that body before.
        """
        if change == _PROBE and (status is None or status >= HTTPStatus.INTERNAL_SERVER_ERROR):
            self._begin_anew()
        is_failing = status == HTTPStatus.SERVICE_UNAVAILABLE
        if is_failing and is_known:
            return
        was_failing, self._is_failing = self._is_failing, is_failing
        if change != self._change or (is_failing and not was_failing):
            return
        if status in _REFUSALS:
            self._halve(f"the server refused with HTTP {status}")
        elif status is None:
            if seconds >= self.timeout * _NEARER:
                self._halve("no answer in time", doubles=True)
        elif size and status < HTTPStatus.INTERNAL_SERVER_ERROR:
            self._add(seconds, size)
            if len(self._seconds) >= self._enough:
                self._judge()

    def _add(self, seconds: float, size: int) -> None:
        """
        Add an answer to this round, unless it is of bodies of quite another size.

        It changes to larger ones if many are, since these take the most time; else if most are.
        """
        usual = self._before.size if self._before else self._sizes[0] if self._sizes else size
        if max(size, usual) > _COMPARABLE * min(size, usual):
            self._others += 1
            if self._others < (self._enough / 2 if size > usual else 2 * self._enough):
                return
            self._before = None
            self._clear()
        self._seconds.append(seconds)
        self._sizes.append(size)

    @property
    def _enough(self) -> int:
        """
        How many answers make a round.
        """
        if self._doubles:
            return max(self.limit, min(2 * self.limit, _FEWEST))
        return max(2 * self.limit, _ANSWERS)

    def _judge(self) -> None:
        """
        Decide by a round of answers.
        """
        seconds = max(_middle(self._seconds), 1e-9)
        now, before = _Round(self.limit, seconds, _middle(self._sizes)), self._before
        is_trial, self._is_trial = self._is_trial, False
        is_needed, self.is_needed = self.is_needed, False
        self._before = now
        self._clear()
        if seconds > self.timeout * _NEARER:
            self.reason = "answers take half of request_timeout or longer"
            self._fail()
            self._set(self.limit - _quarter(self.limit))
        elif before is not None and now.is_of_another_route(before) and not self._is_refused:
            self._hurry()
            self._go_on(now, is_needed=is_needed)
        elif before is None or not (is_trial and is_needed and now.is_like(before)):
            self._go_on(now, is_needed=is_needed)
        elif now.worth > before.worth:
            self._next_rest = _SHORTEST_REST
            self._is_refused &= self._step < 0
            self._go_on(now, is_needed=True)
        else:
            if self._step > 0:
                self.reason = "more at once bring no more throughput"
            self._fail()
            self._step = -self._step
            self._set(before.limit)
            self._before = before

    def _go_on(self, now: _Round, *, is_needed: bool) -> None:
        """
        Try another number, if it is time and something is to be gained.
        """
        if not is_needed:
            self.reason = "no more are needed"
        elif self._rest:
            self._rest -= 1
        elif self._step > 0 and self.limit == self.ceiling:
            self.reason = "max_in_flight is reached"
            self._next_rest = _LONGEST_REST
            self._fail()
            self._step = -1
        elif self._step < 0 and self.limit == 1:
            self._fail()
            self._step = 1
        elif self._step > 0 and now.seconds > self.timeout * _NEAR:
            self.reason = "answers take half of request_timeout or longer"
        else:
            self._is_trial = True
            if self._step < 0:
                self._set(self.limit - _quarter(self.limit))
            else:
                self.reason = "it is still growing"
                doubles = self._doubles and now.seconds < self.timeout * _FAR
                self._set(self.limit + (self.limit if doubles else _quarter(self.limit)))

    def _begin_anew(self) -> None:
        """
        Forget refusals: the server fails, however many requests there are.
        """
        self.reason = "no more are needed"
        self._hurry()
        self._before, self._is_trial = None, False
        self._is_refused = self.is_needed = False
        self._set(self.first)

    def _halve(self, reason: str, *, doubles: bool = False) -> None:
        self.reason = reason
        if doubles:
            self._hurry()
        else:
            self._fail()
            self._step = 1
        self._before, self._is_trial = None, False
        self._is_refused = not doubles
        self._set(self.limit // 2)

    def _hurry(self) -> None:
        """
        Try twice as many next, and at once: the limit may be far from what it should be.
        """
        self._step, self._doubles = 1, True
        self._rest, self._next_rest = 0, _SHORTEST_REST

    def _fail(self) -> None:
        """
        Leave the limit as it is for a while, and for longer each time.
        """
        self._doubles = False
        self._rest = self._next_rest
        self._next_rest = min(2 * self._next_rest, _LONGEST_REST)

    def _set(self, limit: int) -> None:
        self.limit = min(max(1, limit), self.ceiling)
        self._change += 1
        self._clear()

    def _clear(self) -> None:
        self._seconds.clear()
        self._sizes.clear()
        self._others = 0


def _quarter(limit: int) -> int:
    return max(1, limit // 4)


def _middle(figures: Iterable[float]) -> float:
    """
    Average *figures* without the lowest and the highest quarter, which chance makes.
    """
    ordered = sorted(figures)
    cut = len(ordered) // 4
    middle = ordered[cut : len(ordered) - cut]
    return sum(middle) / len(middle)
