"""
The stream of dead letters, as an operator sees it: read, published again, deleted.

It is read in pieces by `DIRECT.GET`, which any replica answers and which changes nothing: no
consumer is made. A letter is deleted only once the stream of events has acknowledged its event, so
whatever interrupts that, the worst is an event that is sent twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final

import orjson
from attrs import define, field, frozen

from hh_exporter._clock import Deadline, within
from hh_exporter._fleet.api import Api, ApiError
from hh_exporter._fleet.letter import DeadLetter, read_letter, revive_letter
from hh_exporter._fleet.plan import Names
from hh_exporter._transport.answers import is_acknowledged, read_object
from hh_exporter._transport.nats import (
    Connection,
    Lost,
    Message,
)

__all__ = ["Archive", "Replayed", "Stored"]

_PIECE: Final = 500
_PIECE_BYTES: Final = 2**22
"""Letters, and bytes of them, that are read at once."""
_DELETED_AT_ONCE: Final = 64
_ANSWER: Final = 5.0
"""Seconds for one answer: a request to a server that has died is never answered."""
_PATIENCE: Final = 30.0
"""Seconds for a piece, through an election."""
_PAUSE: Final = 0.25

_GONE: Final = 10043
"""The error of a sequence that is not there."""
_FAILED: Final = 10057
_GONE_TOO: Final = frozenset({"no message found", "deleted message", "stream store EOF"})
"""Words of the error of any deletion that failed which mean the same, as before the first one."""
_FULL: Final = 10077
"""The error of a full stream, a 503 that no time cures."""
_TOO_LARGE: Final = frozenset({10054, 10097})
"""The errors of a message, or of headers, larger than the stream takes."""
_UNAVAILABLE: Final = 503
_SENT, _NONE, _NOBODY = "204", "404", "503"
"""The status behind a piece; of one without any letter; of a stream that nobody answers for."""
_NO_ANSWER: Final = "no acknowledgement in time"


@frozen
class Stored:
    """
    A letter, and the message that it was read from.
    """

    letter: DeadLetter
    data: bytes = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)


@frozen(kw_only=True)
class Replayed:
    """
    What became of letters that were to be published again.
    """

    sent: Sequence[int]
    """Sequences of those whose event the stream of events has."""
    left: Sequence[int]
    """Those that are dead letters still."""
    undeleted: Sequence[int]
    """Those of `sent` that are dead letters still, since they could not be deleted."""
    problem: str
    """Why; empty if there is neither."""
    is_stuck: bool
    """Whether others would be left, too."""


@define(eq=False)
class Archive:
    """
    The letters that were there when it was opened.
    """

    connection: Connection
    names: Names
    count: int
    """How many there are."""
    last: int
    """The sequence of the newest."""

    @classmethod
    async def open(cls, connection: Connection, names: Names) -> Archive:
        """
        Look at the stream.

        Raises:
            ApiError: There is none, it does not let itself be read, or there was no answer.
        """
        stream = names.dead_stream
        deadline = Deadline.after(connection.clock, _PATIENCE)
        try:
            found = await Api(connection).call(f"STREAM.INFO.{stream}", deadline=deadline)
        except ApiError as exc:
            if exc.is_missing:
                text = f"there is no stream {stream}: hh-exporter relay --setup creates it"
                raise ApiError(text, exc.code) from None
            raise
        if not found["config"].get("allow_direct"):
            raise ApiError(
                f"stream {stream} can't be read: set its allow_direct, such as by "
                f"nats stream edit {stream} --allow-direct"
            )
        state = found["state"]
        return cls(connection, names, int(state["messages"]), int(state["last_seq"]))

    async def read(self) -> AsyncIterator[list[Stored]]:
        """
        Read all letters, the oldest first, some at a time.

        Raises:
            ApiError: There was no answer, or the user may not read.
        """
        first = 1
        while first <= self.last:
            body = {"seq": first, "batch": _PIECE, "max_bytes": _PIECE_BYTES, "next_by_subj": ">"}
            found, is_end = await self._get(body)
            if found:
                yield [one for one in found if one.letter.sequence <= self.last]
                first = found[-1].letter.sequence + 1
            if is_end or not found:
                return

    async def find(self, sequence: int) -> Stored | None:
        """
        Read one letter; None if there is none of that sequence.

        Raises:
            ApiError: As in `read`.
        """
        found, _ = await self._get({"seq": sequence, "batch": 1, "next_by_subj": ">"})
        return next((one for one in found if one.letter.sequence == sequence), None)

    async def replay(self, letters: Sequence[Stored]) -> Replayed:
        """
        Publish their events to the stream of events, and delete those that it acknowledges.
        """
        asked = [
            (
                f"{self.names.subject}.{one.letter.dialect}",
                one.data,
                revive_letter(
                    one.headers, sequence=one.letter.sequence, died_at=one.letter.died_at
                ),
            )
            for one in letters
        ]
        answers = await self._ask(asked)
        problems = [_problem(answer) for answer in answers]
        sequences = [one.letter.sequence for one in letters]
        pairs = list(zip(sequences, problems, strict=True))
        sent = [sequence for sequence, problem in pairs if not problem]
        deleted, why = await self.delete(sent)
        return Replayed(
            sent=sent,
            left=[sequence for sequence, problem in pairs if problem],
            undeleted=[sequence for sequence in sent if sequence not in deleted],
            problem=next(filter(None, problems), why),
            is_stuck=bool(why) or any(map(_holds_up, answers)),
        )

    async def delete(
        self, sequences: Sequence[int], *, overwrites: bool = False
    ) -> tuple[Collection[int], str]:
        """
        Delete letters.

        Args:
            sequences: Which.
            overwrites: Whether their bytes on disk are overwritten, too: that is written through
                to the disk one by one, and so takes long.

        Returns:
            Those that are gone, and why others are not.
        """
        gone, why = set[int](), ""
        for at in range(0, len(sequences), _DELETED_AT_ONCE):
            some = sequences[at : at + _DELETED_AT_ONCE]
            subject = f"$JS.API.STREAM.MSG.DELETE.{self.names.dead_stream}"
            bodies = [orjson.dumps({"seq": n, "no_erase": not overwrites}) for n in some]
            answers = await self._ask([(subject, body, None) for body in bodies])
            for sequence, answer in zip(some, answers, strict=True):
                if (problem := _problem(answer)) and not _is_gone(answer):
                    why = problem
                else:
                    gone.add(sequence)
            if why:
                break
        return gone, why

    async def delete_all(self) -> int:
        """
        Delete all that were there when the archive was opened; returns how many those were.

        Raises:
            ApiError: There was no answer, or the user may not.
        """
        deadline = Deadline.after(self.connection.clock, _PATIENCE)
        purge = f"STREAM.PURGE.{self.names.dead_stream}"
        body = {"seq": self.last + 1}
        answer = await Api(self.connection).call(purge, body, deadline=deadline)
        return int(answer.get("purged", 0))

    async def _get(self, body: Mapping[str, Any]) -> tuple[list[Stored], bool]:
        """
        Read some letters; also returns whether there are no more.
        """
        name = f"DIRECT.GET.{self.names.dead_stream}"
        ask = [(f"$JS.API.{name}", orjson.dumps(body), None)]
        deadline = Deadline.after(self.connection.clock, _PATIENCE)
        while not deadline.is_over(self.connection.clock.now()):
            found = await self._gather(ask, until_status=True)
            status = _status(found[-1][1]) if found else ""
            if status in (_SENT, _NONE):
                left = (found.pop()[1].headers or {}).get("Nats-Num-Pending", "0")
                return [_read(message) for _, message in found], left == "0"
            if status not in ("", _NOBODY):
                raise ApiError(f"the server does not read in pieces ({status}): it is too old")
            if not self.connection.is_open or self.connection.is_refused:
                break
            await self.connection.clock.sleep(_PAUSE)
        raise Api(self.connection).silence(name)

    async def _ask(
        self, asked: Sequence[tuple[str, bytes, dict[str, str] | None]]
    ) -> list[Mapping[str, Any]]:
        """
        Make requests, and again those that a passing trouble left without an answer.
        """
        clock = self.connection.clock
        answers: list[Mapping[str, Any]] = [{"error": {"description": _NO_ANSWER}}] * len(asked)
        waiting = list(range(len(asked)))
        deadline = Deadline.after(clock, _PATIENCE)
        while waiting and not deadline.is_over(clock.now()):
            some = [asked[index] for index in waiting]
            found = await self._gather(some)
            for place, message in found:
                answers[waiting[place]] = _parse(message)
            waiting = [index for index in waiting if _passes(answers[index])]
            if not self.connection.is_open or self.connection.is_refused:
                for index in waiting:
                    answers[index] = {"error": {"description": self.connection.fault}}
                break
            if waiting:
                await clock.sleep(_PAUSE)
        return answers

    async def _gather(
        self,
        asked: Sequence[tuple[str, bytes, dict[str, str] | None]],
        *,
        until_status: bool = False,
    ) -> list[tuple[int, Message]]:
        """
        Make requests, and gather what is answered, with the place of what it answers.

        Returns once there is an answer to each, or one that has a status; else what came in time.
        """
        connection, done = self.connection, asyncio.get_running_loop().create_future()
        found: list[tuple[int, Message]] = []
        end = partial(_end, done)

        def take(index: str, message: Message) -> None:
            found.append((int(index), message))
            if _status(message) if until_status else len(found) == len(asked):
                end()

        connection.on_fault.add(end)
        box = None
        try:
            async with within(connection.clock, Deadline.after(connection.clock, _ANSWER)):
                box = await connection.listen(take)
                for index, (subject, data, headers) in enumerate(asked):
                    reply = f"{box.prefix}{index}"
                    await connection.publish(subject, data, reply=reply, headers=headers)
                await done
        except (TimeoutError, Lost):
            pass
        finally:
            connection.on_fault.discard(end)
            if box is not None:
                await box.end()
        return found


def _end(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)


def _status(message: Message) -> str:
    headers = message.headers or {}
    return "" if "Nats-Sequence" in headers else headers.get("Status", "")


def _read(message: Message) -> Stored:
    headers = message.headers or {}
    letter = read_letter(
        message.data,
        headers,
        subject=headers["Nats-Subject"],
        sequence=int(headers["Nats-Sequence"]),
        died_at=datetime.fromisoformat(headers["Nats-Time-Stamp"]).timestamp(),
    )
    return Stored(letter, message.data, headers)


def _parse(message: Message) -> Mapping[str, Any]:
    if not message.data:
        text = "no stream has that subject, or no leader"
        return {"error": {"code": _UNAVAILABLE, "description": text}}
    answer = read_object(message.data)
    if answer is None:
        return {"error": {"description": "what answers is not JetStream"}}
    return answer


def _problem(answer: Mapping[str, Any]) -> str:
    """
    Say what is wrong; empty if nothing is.
    """
    error = answer.get("error")
    if not isinstance(error, dict):
        is_done = answer.get("success") is True or is_acknowledged(answer)
        return "" if is_done else "what answers is no stream"
    code = _code(answer)
    return str(error.get("description", "refused")) + (f" ({code})" if code else "")


def _code(answer: Mapping[str, Any]) -> int:
    error = answer.get("error")
    return int(error.get("err_code", 0)) if isinstance(error, dict) else 0


def _is_gone(answer: Mapping[str, Any]) -> bool:
    code = _code(answer)
    return code == _GONE or (code == _FAILED and answer["error"].get("description") in _GONE_TOO)


def _holds_up(answer: Mapping[str, Any]) -> bool:
    """
    Whether it is no word about that message alone.
    """
    return bool(_problem(answer)) and _code(answer) not in _TOO_LARGE


def _passes(answer: Mapping[str, Any]) -> bool:
    """
    Whether it may be another one soon.
    """
    error = answer.get("error")
    if not isinstance(error, dict):
        return False
    is_short = error.get("code") == _UNAVAILABLE and _code(answer) != _FULL
    return is_short or error.get("description") == _NO_ANSWER
