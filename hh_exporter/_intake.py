"""
From what a program pushes to a record, on the caller's thread.

In this order: an id, sampling, a session, hooks, bytes. An event that becomes no
record is counted and announced here, once, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeGuard
from zlib import crc32

from attrs import define, field

from hh_exporter._delivery.settler import Settler
from hh_exporter._dialects.vendor import to_session_uuid
from hh_exporter._encoding.codec import Codec, copy_event, no_event
from hh_exporter._encoding.privacy import Privacy
from hh_exporter._outcomes import DropReason
from hh_exporter._outside import let_through
from hh_exporter._queue.queue import RecordQueue
from hh_exporter._recording.scopes import Scope, current
from hh_exporter._records import Record, Session
from hh_exporter._sessions import Sessions
from hh_exporter._values.legalize import legalize
from hh_exporter.events import AnyEvent, Event, EventUpdate, SessionProperties, new_id
from hh_exporter.exceptions import EncodeError

__all__ = ["Intake"]

_CHANCES = 2**32


@define(eq=False, kw_only=True)
class Intake:
    """
    The way in, for push, put and create_model_event.
    """

    queue: RecordQueue
    settler: Settler
    codec: Codec
    sessions: Sessions
    privacy: Privacy
    sample_rate: float
    owner: object
    """Stands for the exporter in the scopes of its sessions and steps."""
    disabled: str
    """Why nothing is sent at all; empty if events are sent."""
    copy: Callable[[Record, bytes], None] | None = None
    """Takes a copy of what is not sent for that reason; of all else the queue has one made."""
    _has_rules: bool = field(init=False)
    """Whether a setting leaves out events, or parts of them."""

    def __attrs_post_init__(self) -> None:
        privacy = self.privacy
        self._has_rules = self.sample_rate < 1 or privacy.before_send is not None or privacy.hides

    def encode(
        self, event: AnyEvent, session: SessionProperties | None = None, *, sample: bool = True
    ) -> Record:
        """
        Make the record of *event* as it is now.

        Args:
            event: Anything; what is not an event is refused as `invalid`.
            session: The session that it belongs to, unless it names another; default: that
                of the block around the caller.
            sample: Whether it may be left out by `sample_rate`.

        Raises:
            EncodeError: It is not sent; that is counted and announced.
        """
        event_id = _id_of(event, self.sessions)
        try:
            if self.disabled:
                if self.copy is not None and not self.queue.closed:
                    self._copy_alone(event, event_id, session, sample=sample)
                raise EncodeError(DropReason.DISABLED, self.disabled)
            if self.queue.closed:
                raise EncodeError(DropReason.CLOSED, "the exporter is closed")
            scope = current(self.owner)
            if session is not None and _is_session(event):
                session = None  # it belongs to itself, unless it names another
            elif scope is not None and session is None and not _is_placed(event):
                if not self._has_rules and self._has_told(scope):
                    return self.codec.encode(event, event_id, scope.session_id, scope.event_id)
                event, session = _place(event, scope), scope.session
            if session is None and not self._has_rules:
                return self.codec.encode(event, event_id)
            if sample and self._has_rules:
                self._sample(event, session, event_id)
            return self._encode_with_care(event, event_id, session)
        except EncodeError as exc:
            error = exc
        except BaseException as exc:  # a hostile event may raise anything while it is looked at
            let_through(exc)
            is_event = issubclass(type(event), AnyEvent)
            error = _unencodable(exc) if is_event else no_event(event)
        self.settler.refuse(event_id, error.reason, str(error))
        raise error from None

    def _has_told(self, scope: Scope) -> bool:
        """
        Whether nothing of the session of *scope* is still to be announced.
        """
        session_id = scope.session_id
        return scope.session is None or (
            type(session_id) is str and self.sessions.is_known(session_id)
        )

    def _copy_alone(
        self, event: AnyEvent, event_id: str, session: SessionProperties | None, *, sample: bool
    ) -> None:
        """
        Have *event* copied, as it would be sent.
        """
        assert self.copy is not None  # noqa: S101
        with suppress(EncodeError):
            if sample:
                self._sample(event, session, event_id)
            record = self._encode_with_care(event, event_id, session)
            with self.opening(record) as opening:
                if opening is not None:
                    self.copy(opening, opening.data)
            self.copy(record, record.data)

    def encode_update(self, update: EventUpdate) -> Record:
        """
        Make the record of *update* as it is now.

        Raises:
            EncodeError: It is not sent; that is counted and announced.
        """
        event_id = _id_of(update, self.sessions)
        try:
            if self.disabled:
                if self.copy is not None and not self.queue.closed:
                    with suppress(EncodeError):
                        record = self._encode_update(update)
                        self.copy(record, record.data)
                raise EncodeError(DropReason.DISABLED, self.disabled)
            if self.queue.closed:
                raise EncodeError(DropReason.CLOSED, "the exporter is closed")
            return self._encode_update(update)
        except EncodeError as exc:
            error = exc
        except BaseException as exc:  # a hostile value may raise anything while it is looked at
            let_through(exc)
            error = _unencodable(exc)
        self.settler.refuse(event_id, error.reason, str(error), is_update=True)
        raise error from None

    def _encode_update(self, update: EventUpdate) -> Record:
        draft = self.codec.draft_update(update)
        scope = current(self.owner)
        is_around = scope is not None and scope.session_id == draft.event_id
        if is_around or self.sessions.has(draft.event_id):
            draft.event_id = to_session_uuid(draft.event_id)
        if self.privacy.before_send is not None:
            draft = self.codec.draft_update(self.privacy.call(draft))
        if self.privacy.hides:
            draft = self.privacy.hide(draft)
        return self.codec.encode_update(draft)

    def _encode_with_care(
        self, event: AnyEvent, event_id: str, properties: SessionProperties | None
    ) -> Record:
        session_id = session = None
        if properties is not None:
            session_id, session = self._find_session(properties)
        if self.privacy.before_send is not None:
            event = self.privacy.call(self.codec.draft(event, event_id, session_id))
            session_id = None  # the draft had it
            if event.event_id is not None:
                event_id = _id_of(event, self.sessions)
        if self.privacy.hides:
            event = self.privacy.hide(self.codec.check(event))
        record = self.codec.encode(event, event_id, session_id)
        own = session_id if event.session_id is None else event.session_id
        if session is not None and own == session.session_id:
            # An event of its own shares no body of need.
            size = len(session.data) + (0 if session.event_id else len(record.data))
            if size <= self.codec.max_bytes:
                record.session = session
            elif len(record.data) < len(session.data):
                self.sessions.withhold(session.session_id, "its properties are too large")
        return record

    def announce(self, record: Record) -> None:
        """
        Queue the session of *record* now if it is an event of its own.
        """
        with self.opening(record) as opening:
            if opening is not None:
                self.settler.report(self.queue.offer(opening), opening)

    @contextmanager
    def opening(self, record: Record) -> Iterator[Record | None]:
        """
        Take the session from *record* if it is an event of its own.

        Yields the record of that event, to be queued within the block; None if there is
        none, or another thread queues it. If the block raises, the session is announced
        again with its next event.
        """
        session = record.session
        if session is None or session.event_id is None:
            yield None
            return
        record.session = None
        try:
            with self.queue.lock:
                is_new = self.sessions.open(session)
            yield Record(session.event_id, session.data, record.pushed_at) if is_new else None
        except BaseException:
            self.sessions.reopen((session.event_id,))
            raise

    def _find_session(self, properties: SessionProperties) -> tuple[str, Session | None]:
        """
        Find a session's id, and what is still to be announced of it.
        """
        if type(properties) is SessionProperties and type(own := properties.session_id) is str:
            # Announced or about to be, as for all events of a session but the first.
            if self.sessions.is_known(own):
                return own, None
            if (session := self.sessions.find(own)) is not None:
                return own, session
        draft = self.codec.draft_session(properties)
        session_id = str(draft.session_id)
        try:
            if self.privacy.before_send is not None:
                draft = self.codec.draft_session(self.privacy.call(draft))
        except EncodeError as exc:
            if exc.reason is not DropReason.FILTERED:
                raise
            self.sessions.learn(session_id)  # its events go without
            return session_id, None
        if self.privacy.hides:
            draft = self.privacy.hide(draft)
        session = self.codec.encode_session(draft)
        with self.queue.lock:
            return session_id, self.sessions.add(session)

    def _sample(self, event: AnyEvent, session: SessionProperties | None, event_id: str) -> None:
        """
        Raise EncodeError if *event* is one of those that are left out.
        """
        own = getattr(event, "session_id", None) or getattr(session, "session_id", None)
        key = own if isinstance(own, str) and own else event_id
        if crc32(key.encode("utf-8", "surrogatepass")) >= self.sample_rate * _CHANCES:
            self.settler.note_sampled(key)
            raise EncodeError(DropReason.SAMPLED, "left out by sample_rate")


def _is_placed(event: AnyEvent) -> bool:
    """
    Whether an event belongs where it says, and not to the step or session around it.
    """
    return event.session_id is not None or event.parent_id is not None or _is_session(event)


def _place(event: AnyEvent, scope: Scope) -> AnyEvent:
    """
    Make a copy of *event* that says that it belongs to *scope*.
    """
    return copy_event(event, {"session_id": scope.session_id, "parent_id": scope.event_id})


def _is_session(event: object) -> TypeGuard[Event]:
    return isinstance(event, Event) and event.event_type == "session"


def _id_of(event: AnyEvent | EventUpdate, sessions: Sessions) -> str:
    """
    Take the event's own id, or make one where it has none that can be used.
    """
    try:
        own: Any = event.event_id
        if _is_session(event):
            named: Any = own or event.session_id
            own = to_session_uuid(named) if named else None
            if own != named:
                sessions.name(named)
    except BaseException as exc:  # not an event, or a hostile one
        let_through(exc)
        own = None
    if own is None:
        return new_id()
    if type(own) is str and own.isascii() and own:
        return own
    # Not isinstance, which asks the object itself what it is.
    text = legalize(own) if issubclass(type(own), str) else ""
    return text if isinstance(text, str) and text else new_id()


def _unencodable(exc: BaseException) -> EncodeError:
    return EncodeError(DropReason.UNENCODABLE, f"a payload can't be encoded ({type(exc).__name__})")
