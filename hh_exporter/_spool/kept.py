"""
What is kept on disk: records that wait, dead letters, and whose they are.

All times here are Unix times: monotonic readings mean nothing after a restart.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from typing import Any, Final

import orjson
from attrs import evolve, field, frozen

from hh_exporter._dialects.vendor import to_session_uuid
from hh_exporter._outcomes import DropReason, Outcome
from hh_exporter._records import MAIN
from hh_exporter._settings.secret import Secret, hidden
from hh_exporter._spool.forms import packed

__all__ = ["EARLIEST", "Identity", "Letter", "Mark", "Match", "SpooledRecord"]

EARLIEST: Final = 1_704_067_200.0
"""The Unix time at which 2024 began: what seems to be older was pushed while no clock was set."""


@frozen(kw_only=True)
class Identity:
    """
    Whose events a file holds: only an exporter with the same address, dialect and key gets them.
    """

    base_url: str
    """The address; of a stream, what stands for it."""
    dialect: str
    api_key: Secret | None = field(converter=hidden)
    """None where no key is needed, as by a stream."""

    def seal(self, salt: bytes) -> bytes:
        """
        Make a digest that tells identities apart and does not reveal the key.
        """
        key = "" if self.api_key is None else self.api_key.reveal()
        text = "\0".join((self.base_url, self.dialect, key))
        return blake2b(text.encode(), salt=salt, person=b"hh_exporter").digest()


@frozen(kw_only=True)
class SpooledRecord:
    """
    One record as it is on disk.
    """

    id: int = 0
    """Order of arrival in its file; the file gives it."""
    event_id: str
    data: bytes = field(repr=False)
    """Its JSON; or that packed, where it is only written or copied."""
    pushed_at: float
    tried_for: float = 0.0
    """Seconds for which deliveries failed with it, pauses not counted."""
    seq: int = 0
    """Order of admission by the exporter that wrote it, which means nothing to another."""
    session_id: str | None = None
    """The session that it is still to announce."""
    session: bytes | None = field(default=None, repr=False)
    """The announcement of that session, as in `Session.data`."""
    route: str = MAIN
    odd: str = ""
    """The names of its columns that held what no exporter writes; empty if none did."""

    @property
    def damage(self) -> str:
        """
        Say what of it is damaged, so that it can't be sent; empty if nothing is.
        """
        if self.odd:
            return self.odd.strip().replace(" ", ", ")
        event = _parse(self.data)
        if event.get("event_id") != self.event_id:
            return "event_id" if event else "data"
        return "" if self.session is None or _parse_session(self.session) else "session"

    def packed(self) -> SpooledRecord:
        """
        Return it as it takes least on disk.
        """
        return evolve(self, data=packed(self.data))

    def buried(self, died_at: float) -> Letter:
        """
        Make a dead letter of it, since it is damaged.
        """
        return Letter(
            event_id=self.event_id,
            data=self.data,
            route=self.route,
            pushed_at=self.pushed_at,
            died_at=died_at,
            outcome=Outcome.DROPPED,
            reason=DropReason.DAMAGED,
            status=None,
            answer=self.damage,
        )

    @property
    def size(self) -> int:
        """
        Bytes that count towards the size of its file.
        """
        return len(self.data) + len(self.session or b"")


@frozen(kw_only=True)
class Letter:
    """
    A dead letter: a record that was rejected or dropped, kept for a person.
    """

    id: int = 0
    """Order of death in its file; the file gives it."""
    event_id: str
    data: bytes = field(repr=False)
    """As of a record."""
    pushed_at: float
    died_at: float
    outcome: str
    reason: str
    """Why it was dropped; empty if it was rejected."""
    status: int | None
    """The HTTP status that decided it, None where no answer did."""
    answer: str = field(repr=False)
    """The server's own words, which can echo a prompt; or what is damaged, if that is why."""
    route: str = MAIN

    @property
    def size(self) -> int:
        """
        Bytes that count towards the size of its file.
        """
        return len(self.data) + len(self.answer.encode())

    def packed(self) -> Letter:
        """
        Return it as it takes least on disk.
        """
        return evolve(self, data=packed(self.data))

    def revived(self) -> SpooledRecord:
        """
        Make a record of it again, with its age, as if it had never been tried.
        """
        return SpooledRecord(
            event_id=self.event_id, data=self.data, route=self.route, pushed_at=self.pushed_at
        )


@frozen(kw_only=True)
class Mark:
    """
    How far the contents of one file were moved to another: what has these ids, and less, is there.
    """

    records: int = 0
    letters: int = 0

    def later(self, other: Mark) -> Mark:
        """
        Return what is moved by either of two marks of one file.
        """
        return Mark(
            records=max(self.records, other.records), letters=max(self.letters, other.letters)
        )


@frozen(kw_only=True)
class Match:
    """
    Which records and letters are meant: those that fit all that is given, so all if nothing is.

    A user is looked for in the `user_properties` of the event and of the session
    that it announces. The API leaves their names open, and its examples use
    `user`, `user_id`, `id` and `email`: each property counts, whatever its name,
    if it is this text or this whole number. An event whose session was announced
    before may not name the user.
    """

    session_id: str | None = None
    """As the program names it, or the UUID that the API knows it by."""
    user: str | None = field(default=None, repr=False)
    before: float | None = None
    """Pushed earlier than this."""
    reason: str | None = None
    """Why they were dropped, or empty for those that were rejected; then no records are meant."""

    def fits(
        self,
        pushed_at: float,
        data: bytes,
        session: bytes | None = None,
        *,
        reason: str | None = None,
    ) -> bool:
        """
        Whether a record or a letter with these values is meant; a record has no *reason*.
        """
        if self.reason is not None and reason != self.reason:
            return False
        if self.before is not None and pushed_at >= self.before:
            return False
        if self.session_id is None and self.user is None:
            return True
        said = list(_read(data, session))
        ids = {own, to_session_uuid(own)} if (own := self.session_id) is not None else set()
        has_session = any(one.get("session_id") in ids for one in said)
        has_user = any(self.user in _users(one) for one in said)
        return (self.session_id is None or has_session) and (self.user is None or has_user)


def _read(data: bytes, session: bytes | None) -> Iterator[dict[str, Any]]:
    """
    Find the objects that may name a user: the event, and the session that it announces.
    """
    event = _parse(data)
    yield event
    if session:
        properties = _parse_session(session).get("session_properties")
        yield properties if isinstance(properties, dict) else {}


def _parse_session(session: bytes) -> dict[str, Any]:
    # It is what follows the records of a body: a comma, then members of its object.
    return _parse(b"{%b}" % session.lstrip(b","))


def _parse(data: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def _users(said: dict[str, Any]) -> set[str]:
    properties = said.get("user_properties")
    if not isinstance(properties, dict):
        return set()
    return {str(value) for value in properties.values() if type(value) in (str, int)}
