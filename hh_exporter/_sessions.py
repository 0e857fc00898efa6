"""
Which sessions' properties the server has.

A session is announced once. If it is an event of its own, that is queued right before
the first of its events, and again if it is dropped. Else its properties are sent with
the first of its events, until one of those is created, or the properties turn out not
to be acceptable. What is remembered is bounded; to announce a forgotten session again
does no harm.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from weakref import WeakValueDictionary

from attrs import Factory, define, field

from hh_exporter._log import get_log
from hh_exporter._records import Session

__all__ = ["Sessions"]

log = get_log(__name__)

_REMEMBERED = 10_000


@define(eq=False)
class Sessions:
    """
    The sessions of one exporter. Any thread; `add` under the one lock.
    """

    _pending: WeakValueDictionary[str, Session] = Factory(WeakValueDictionary)
    _known: OrderedDict[str, None] = Factory(OrderedDict)
    _opened: OrderedDict[str, str] = Factory(OrderedDict)
    """Ids of sessions by the ids of their own events, of those that were queued."""
    _named: OrderedDict[str, None] = Factory(OrderedDict)
    """Of those that the program pushed as events, the ids that it gave them."""
    is_silent: bool = field(default=False, kw_only=True)
    """Whether to log nothing."""
    _logged: set[str] = Factory(set)

    def is_known(self, session_id: str) -> bool:
        """
        Whether it needs no announcement any more.
        """
        return session_id in self._known

    def has(self, session_id: str) -> bool:
        """
        Whether the session was announced, is to be, or was pushed as an event.
        """
        return any(session_id in ids for ids in (self._known, self._pending, self._named))

    def name(self, session_id: str) -> None:
        """
        Note a session that is pushed as an event.
        """
        self._named[session_id] = None
        while len(self._named) > _REMEMBERED:
            self._named.popitem(last=False)

    def find(self, session_id: str) -> Session | None:
        """
        Find a session that records in memory are still to announce.
        """
        return self._pending.get(session_id)

    def add(self, session: Session) -> Session:
        """
        Have *session* announced.

        Returns:
            The session to announce: another one if that came first.
        """
        return self._pending.setdefault(session.session_id, session)

    def learn(self, session_id: str) -> None:
        """
        Note that a session needs no announcement any more.
        """
        self._known[session_id] = None
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)  # one step, unlike next and del

    def open(self, session: Session) -> bool:
        """
        Note that *session* is about to be queued as an event of its own; under the one lock.

        Returns:
            Whether it was not before.
        """
        if session.session_id in self._known or session.event_id is None:
            return False
        self.learn(session.session_id)
        self._opened[session.event_id] = session.session_id
        while len(self._opened) > _REMEMBERED:
            self._opened.popitem(last=False)
        return True

    def reopen(self, event_ids: Iterable[str]) -> None:
        """
        Announce sessions again, with their next event, whose own event is in *event_ids*.
        """
        for event_id in event_ids:
            session_id = self._opened.pop(event_id, None)
            if session_id is not None:
                self._known.pop(session_id, None)

    def withhold(self, session_id: str, why: str) -> None:
        """
        Send the events of a session without its properties, and log *why* once.
        """
        self.learn(session_id)
        if not self.is_silent and why not in self._logged:
            self._logged.add(why)
            log.warning("hh_exporter: session properties are not sent: %s; logged once", why)
