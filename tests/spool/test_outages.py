"""
A network that fails for a while, with a spool: nothing is lost, and nothing is sent twice.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from trustme import CA, LeafCert

from hh_exporter import BatchLimits, Exporter, QueueLimits, Spool
from hh_exporter._transport.http import HttpTransport
from tests.conftest import BuildExporter
from tests.delivery.test_outage import warnings
from tests.proxies import tls_before
from tests.scripted_server import ScriptedServer
from tests.spools import written
from tests.support import STEP, FakeClock, assert_balanced, pass_time, push_all
from tests.transport.test_tls import expired, serving, trusting

IN_MEMORY = 4
"""How many events the queue has room for: the others wait on disk alone."""


@frozen
class Network:
    """
    What is between an exporter and its server.

    Attributes:
        settings: Those of an exporter that goes this way.
    """

    settings: dict[str, Any]
    fail: Callable[[Exporter], Awaitable[None]]
    heal: Callable[[], Awaitable[None]]


@asynccontextmanager
async def certified(
    server: ScriptedServer, bad: Callable[[CA], LeafCert]
) -> AsyncIterator[Network]:
    """
    Show a *bad* certificate to all who connect while it fails.
    """
    ca = CA()
    tls = serving(ca.issue_cert("127.0.0.1"))

    async def show(cert: LeafCert) -> None:
        cert.configure_cert(tls)
        await server.restart()  # who is connected asks no more

    async with tls_before(server.url, tls) as port:
        yield Network(
            {"base_url": f"https://127.0.0.1:{port}", "ssl_context": trusting(ca)},
            lambda _: show(bad(ca)),
            lambda: show(ca.issue_cert("127.0.0.1")),
        )


@asynccontextmanager
async def restarted(server: ScriptedServer) -> AsyncIterator[Network]:
    """
    Refuse connections while it fails.
    """
    yield Network({}, lambda _: server.stop(), server.restart)


@asynccontextmanager
async def named(server: ScriptedServer) -> AsyncIterator[Network]:
    """
    Know no address of the server's name while it fails.
    """
    find, is_known = socket.getaddrinfo, True

    def look_up(host: str, *arguments: Any, **options: Any) -> Any:
        if host == "localhost" and not is_known:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return find(host, *arguments, **options)

    async def fail(exporter: Exporter) -> None:
        nonlocal is_known
        is_known = False
        worker = exporter._life.worker
        assert worker
        assert isinstance(worker.transport, HttpTransport)
        worker.transport.addresses.answers.clear()  # as it does after a day
        await server.restart()

    async def heal() -> None:
        nonlocal is_known
        is_known = True

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", look_up)
        yield Network(
            {"base_url": server.url.replace("127.0.0.1", "localhost")},
            fail,
            heal,
        )


NETWORKS = [
    pytest.param(
        lambda server: certified(server, expired),
        "TLS failed (certificate verify failed: certificate has expired)",
        id="a certificate expires",
    ),
    pytest.param(
        lambda server: certified(server, lambda _: CA().issue_cert("127.0.0.1")),
        "TLS failed (certificate verify failed: unable to get local issuer certificate)",
        id="a certificate of nobody we trust",
    ),
    pytest.param(
        named,
        "connection failed (the host name localhost can't be resolved)",
        id="a name that can't be resolved",
    ),
    pytest.param(restarted, "connection failed (connection refused)", id="a server restarts"),
]


@pytest.mark.parametrize("durable", [False, True], ids=["memory first", "durable"])
@pytest.mark.parametrize(("network", "reason"), NETWORKS)
async def test_all_is_delivered_once_when_the_network_is_back(
    build_exporter: BuildExporter,
    server: ScriptedServer,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    network: Callable[[ScriptedServer], AbstractAsyncContextManager[Network]],
    reason: str,
    durable: bool,
) -> None:
    """
    What comes meanwhile waits on disk, health names what fails, and nothing is sent twice.
    """
    pushed: list[str] = []

    async def push(count: int) -> None:
        for _ in range(count):
            pushed.append(f"e{len(pushed)}")
            push_all(exporter, pushed[-1])
            await pass_time(exporter, server, clock, STEP)

    async def recover() -> None:
        await between.heal()
        for _ in range(100):
            if exporter.stats().delivered == len(pushed):
                return
            await written(exporter)
            await pass_time(exporter, server, clock, STEP)
        raise AssertionError(exporter.stats())

    async with network(server) as between:
        exporter = build_exporter(
            **between.settings,
            spool=Spool(tmp_path / "spool", durable=durable),
            queue=QueueLimits(max_events=IN_MEMORY),
            batch=BatchLimits(max_events=2, linger=0.0),
        )
        await exporter.start()
        for _ in range(2):  # so that whoever came back can go again
            await push(2)
            await recover()
            await between.fail(exporter)
            await push(8)
            stats = assert_balanced(exporter)
            assert (stats.health, stats.dropped) == ("retrying", 0)
            assert stats.health_reason == f"the server fails: {reason}"
            assert stats.spooled >= 8 - IN_MEMORY
            await recover()
        assert exporter.stats().health == "ok"
        await exporter.aclose()

    assert sorted(server.created_ids) == sorted(pushed)
    assert not server.duplicates()
    assert ["resumed" in line for line in warnings(caplog)] == [False, True] * 2
