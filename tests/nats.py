"""
NATS servers of tests, the networks before them, and a client that is not ours.
"""

from __future__ import annotations

import asyncio
import json
from asyncio import Runner, new_event_loop
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar
from urllib.parse import urlsplit

import pytest
from attrs import frozen

from hh_exporter._cli._cluster import Cluster
from hh_exporter._cli._errors import CallError
from hh_exporter._cli._server import find_nats_server
from tests.proxies import Cable
from tests.support import PATIENCE

__all__ = [
    "Client",
    "Network",
    "cabled",
    "connected",
    "emptied",
    "needs_server",
    "no_loop",
    "running",
]

T = TypeVar("T")


def _has_server() -> bool:
    try:
        find_nats_server()
    except CallError:
        return False
    return True


_HAS_SERVER = _has_server()
_REASON = "needs the extra fleet"
needs_server = pytest.mark.skipif(not _HAS_SERVER, reason=_REASON)
"""For tests that start servers themselves; the fixtures skip by themselves."""

_NO_LEADER = 503
_ASK_AGAIN = 0.05


class Client:
    """
    A connection to a cluster, and the API of its JetStream.
    """

    def __init__(self, client: Any) -> None:
        self.client = client

    async def call(self, what: str, **body: Any) -> dict[str, Any]:
        """
        Call `$JS.API.what`, again while there is nobody to answer; gives what came back.
        """
        async with asyncio.timeout(PATIENCE):
            while True:
                answer = await self._ask(f"$JS.API.{what}", json.dumps(body).encode())
                if answer.get("error", {}).get("code") != _NO_LEADER:
                    return answer
                await asyncio.sleep(_ASK_AGAIN)

    async def make_stream(self, name: str, *subjects: str, **settings: Any) -> dict[str, Any]:
        """
        Create a stream, a work queue on disk if *settings* do not say otherwise.
        """
        defaults = {"retention": "workqueue", "storage": "file", "discard": "new"}
        body = {"name": name, "subjects": subjects, **defaults, **settings}
        answer = await self.call(f"STREAM.CREATE.{name}", **body)
        assert "error" not in answer, answer
        return answer

    async def make_consumer(self, stream: str, name: str, **settings: Any) -> dict[str, Any]:
        """
        Create a durable consumer that acknowledges each message by itself.
        """
        config = {"durable_name": name, "ack_policy": "explicit", **settings}
        body = {"stream_name": stream, "config": config, "action": "create"}
        answer = await self.call(f"CONSUMER.CREATE.{stream}.{name}", **body)
        assert "error" not in answer, answer
        return answer

    async def publish(self, subject: str, data: bytes = b"", **headers: str) -> dict[str, Any]:
        """
        Publish a message, again while there is nobody to take it; gives its acknowledgement.

        Args:
            headers: With underscores for hyphens, as in `Nats_Msg_Id`.
        """
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with asyncio.timeout(PATIENCE):
            while True:
                if answer := await self._ask(subject, data, named or None):
                    return answer
                await asyncio.sleep(_ASK_AGAIN)

    async def messages(self, stream: str) -> int:
        """
        Count what a stream holds.
        """
        count: int = (await self.call(f"STREAM.INFO.{stream}"))["state"]["messages"]
        return count

    async def ids(self, stream: str) -> list[str]:
        """
        List the `Nats-Msg-Id` of each message that a stream holds, and leave them there.

        By a consumer of its own, so none may take them meanwhile: from a work queue, that is.
        """
        wanted = await self.messages(stream)
        await self.make_consumer(stream, "ids", max_ack_pending=-1)
        found: list[str] = []
        arrived = await self.client.subscribe(inbox := self.client.new_inbox())
        async with asyncio.timeout(PATIENCE):
            while len(found) < wanted:
                pull = {"batch": wanted - len(found), "expires": int(PATIENCE * 1e9)}
                where = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.ids"
                await self.client.publish(where, json.dumps(pull).encode(), inbox)
                while len(found) < wanted:
                    message = await arrived.next_msg(PATIENCE)
                    if "Status" in message.headers:  # no leader yet, as a rule
                        await asyncio.sleep(_ASK_AGAIN)
                        break
                    found.append(message.headers["Nats-Msg-Id"])
        await arrived.unsubscribe()
        await self.call(f"CONSUMER.DELETE.{stream}.ids")
        return found

    async def streams(self) -> list[str]:
        return (await self.call("STREAM.NAMES")).get("streams") or []

    async def _ask(
        self, subject: str, data: bytes, headers: dict[str, str] | None = None
    ) -> dict[str, Any]:
        from nats import errors

        try:
            reply = await self.client.request(subject, data, timeout=2.0, headers=headers)
        except (errors.NoRespondersError, errors.TimeoutError):
            return {"error": {"code": _NO_LEADER}} if subject.startswith("$JS.") else {}
        answer: dict[str, Any] = json.loads(reply.data)
        return answer


@asynccontextmanager
async def connected(servers: str | Cluster, **options: Any) -> AsyncIterator[Client]:
    """
    Connect with one of *servers*, by nats-py and with its *options*.
    """
    from nats.aio.client import Client as Nats

    from hh_exporter._transport.client import abort

    addresses = servers.addresses if isinstance(servers, Cluster) else servers.split(",")
    quiet: dict[str, Any] = {"allow_reconnect": False, "connect_timeout": 2.0, "error_cb": _ignore}
    client = Nats()
    try:
        async with asyncio.timeout(PATIENCE):  # where nobody listens it would try for ever
            await client.connect(addresses, **quiet | options)
        yield Client(client)
    finally:
        abort(client)  # without what it can't write, for which its own close waits
        await client.close()


async def _ignore(_: Exception) -> None:
    """
    Log nothing.
    """


@frozen
class Network:
    """
    The way of one host to a cluster: a cable to each server.
    """

    cables: list[Cable]

    @property
    def servers(self) -> str:
        """
        Give the addresses of the cluster, as this host must know them.
        """
        return ",".join(f"nats://127.0.0.1:{cable.port}" for cable in self.cables)

    async def cut(self) -> None:
        """
        Reset all connections of the host, and refuse others.
        """
        for cable in self.cables:
            await cable.cut()

    def freeze(self) -> None:
        """
        Pass nothing on in either direction, and close nothing.
        """
        for cable in self.cables:
            cable.freeze()

    def restore(self) -> None:
        for cable in self.cables:
            cable.restore()


@asynccontextmanager
async def cabled(cluster: Cluster) -> AsyncIterator[Network]:
    """
    Connect one host with *cluster* by a network of its own, which can be cut and frozen.
    """
    cables = [Cable(leads_to=urlsplit(address).port or 0) for address in cluster.addresses]
    for cable in cables:
        await cable.open()
    try:
        yield Network(cables)
    finally:
        for cable in cables:
            await cable.close()
    assert [failure for cable in cables for failure in cable.failures] == []


def no_loop(work: Coroutine[Any, Any, T]) -> T:
    """
    Await *work* where no event loop runs, as in the fixtures of a session.
    """
    with Runner(loop_factory=new_event_loop) as runner:
        return runner.run(work)


@contextmanager
def running(cluster: Cluster) -> Iterator[Cluster]:
    """
    Run *cluster*, no longer than the block.
    """
    if not _HAS_SERVER:
        pytest.skip(_REASON)
    try:
        no_loop(cluster.start())
        yield cluster
    finally:
        no_loop(cluster.end())


@contextmanager
def emptied(cluster: Cluster) -> Iterator[Cluster]:
    """
    Delete all streams of a *cluster* that tests share, after the block.
    """

    async def empty() -> None:
        async with connected(cluster) as client:
            for name in await client.streams():
                await client.call(f"STREAM.DELETE.{name}")

    yield cluster
    no_loop(empty())
