"""
Whether an app with these settings could publish to its stream.

It publishes a message that only a stream of another name may take: whoever is allowed to publish
gets an answer, and nothing is stored.
"""

from __future__ import annotations

import asyncio
from uuid import uuid4

import orjson

from hh_exporter._clock import Clock, Deadline, within
from hh_exporter._dialects.messages import MOST_HEADERS
from hh_exporter._settings.jetstream import JetStream
from hh_exporter._transport.cluster import Connector
from hh_exporter._transport.nats import Connection, Lost, Message
from hh_exporter._transport.refusals import NoConnection

__all__ = ["try_to_publish"]

_OTHER_STREAM = 10060
"""The error that is hoped for: the stream is not the one that was expected."""

_MAX_EVENT_BYTES = "HH_EXPORTER_JETSTREAM_MAX_EVENT_BYTES"


async def try_to_publish(
    access: JetStream, dialect: str, timeout: float, clock: Clock
) -> tuple[bool, str]:
    """
    Say whether the stream would take events, and why, in plain words.

    Args:
        timeout: Seconds for all of it.
    """
    connector = Connector(access=access, role="app", clock=clock)
    connector.start()
    connection = None
    try:
        deadline = Deadline.after(clock, timeout)
        connection = await connector.open(deadline)
        most = connection.max_payload
        async with within(clock, deadline):
            answer = await _publish(connection, f"{access.subject}.{dialect}")
    except NoConnection as exc:
        return False, exc.problem
    except Lost:
        return False, connection.problem if connection is not None else "connection lost"
    except TimeoutError:
        return False, "no acknowledgement in time"
    finally:
        if connection is not None:
            await connection.close()
        connector.close()
    if problem := _judge(answer):
        return False, problem
    if most < access.max_event_bytes + MOST_HEADERS:
        return False, (
            f"the stream takes events, but no message of more than {most:,} bytes, headers "
            f"included: set {_MAX_EVENT_BYTES} to at most {max(1, most - MOST_HEADERS):,}, "
            f"or max_payload of the servers to at least {access.max_event_bytes + MOST_HEADERS:,}"
        )
    return True, "the stream takes events: servers, user and subject are right"


async def _publish(connection: Connection, subject: str) -> bytes:
    """
    Publish the message, and wait for its answer.

    Raises:
        Lost: The connection is, or the server does not permit it.
    """
    answers: asyncio.Queue[bytes | None] = asyncio.Queue()

    def take(_: str, message: Message) -> None:
        answers.put_nowait(message.data)

    connection.on_fault.add(lambda: answers.put_nowait(None))
    box = await connection.listen(take)
    headers = {"Nats-Expected-Stream": f"none-{uuid4().hex}"}
    await connection.publish(subject, b"", reply=f"{box.prefix}check", headers=headers)
    answer = await answers.get()
    if answer is None:
        raise Lost
    return answer


def _judge(answer: bytes) -> str:
    """
    Say what is wrong, by what came back; empty if nothing is.
    """
    if not answer:
        return "no stream has that subject, or no leader: hh-exporter relay --setup makes one"
    try:
        told = orjson.loads(answer)
    except orjson.JSONDecodeError:
        told = None
    error = told.get("error") if isinstance(told, dict) else None
    if not isinstance(error, dict):
        return "what answers there is no stream: another program has that subject"
    if error.get("err_code") == _OTHER_STREAM:
        return ""
    said = "".join(c for c in str(error.get("description", "an error")) if c.isprintable())
    return f"the stream says: {said} ({error.get('err_code')})"
