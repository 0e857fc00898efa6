"""
Who may publish to a stream, by what, and what crosses the network in the clear.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from asyncio import StreamReader, StreamWriter
from pathlib import Path
from typing import Any

import pytest
from trustme import CA

from hh_exporter import BatchLimits, Exporter, FlushResult, JetStream
from hh_exporter._cli._cluster import Cluster
from hh_exporter._clock import NEVER, SystemClock
from hh_exporter._transport.cluster import Connector
from hh_exporter._transport.refusals import NoConnection
from tests.command import run
from tests.fleet.credentials import make_credentials
from tests.nats import connected, needs_server
from tests.support import assert_balanced, push_all, until

pytestmark = needs_server

SECRET = "canary_7b1d"
SOON = BatchLimits(linger=0.01)
SUBJECTS = "hh_exporter.events.>"
RELAYED = FlushResult(delivered=0, relayed=1, rejected=0, dropped=0, left=0)


@pytest.fixture(scope="module")
def ca() -> CA:
    return CA()


def trusting(ca: CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    ca.configure_trust(context)
    return context


def with_tls(ca: CA, directory: Path, more: str = "") -> Cluster:
    """
    Make a server that demands TLS.
    """
    cert = ca.issue_cert("localhost")
    key, chain = directory / "key.pem", directory / "cert.pem"
    cert.private_key_pem.write_to_path(key)
    chain.write_bytes(b"".join(blob.bytes() for blob in cert.cert_chain_pems))
    tls = f"tls {{ cert_file: {str(chain)!r}, key_file: {str(key)!r}\n{more} }}"
    return Cluster(size=1, settings=tls)


def named(cluster: Cluster) -> str:
    return cluster.servers.replace("127.0.0.1", "localhost")


def encrypted(cluster: Cluster) -> str:
    return named(cluster).replace("nats://", "tls://")


async def published(stream: JetStream) -> FlushResult:
    """
    Publish an event; returns what became of it.
    """
    async with Exporter(jetstream=stream, batch=SOON) as exporter:
        push_all(exporter, "e0")
        result = await exporter.flush(5.0)
    assert_balanced(exporter)
    return result


async def refused(stream: JetStream) -> NoConnection:
    """
    Try to connect; returns why no server took us.
    """
    connector = Connector(access=stream, role="app", clock=SystemClock())
    with pytest.raises(NoConnection) as caught:
        await connector.open(NEVER)
    connector.close()
    return caught.value


async def test_credentials_let_an_app_in(tmp_path: Path) -> None:
    """
    A file as `nsc` writes it; the same server refuses who has none.
    """
    credentials = make_credentials(tmp_path / "app.creds")
    async with Cluster(size=1, settings=credentials.settings) as cluster:
        async with connected(cluster, user_credentials=str(credentials.file)) as client:
            await client.make_stream("EVENTS", SUBJECTS)

        allowed = JetStream(cluster.servers, credentials=credentials.file)
        assert await published(allowed) == RELAYED

        problem = await refused(JetStream(cluster.servers))
        assert problem.is_refused
        assert problem.reason == "authorization violation"


async def test_a_password_lets_an_app_in(caplog: pytest.LogCaptureFixture) -> None:
    """
    A wrong one is refused, and neither is shown.
    """
    user = f'{{ user: app, password: "{SECRET}" }}'
    caplog.set_level(logging.DEBUG)
    async with Cluster(size=1, settings=f"authorization {{ users: [{user}] }}") as cluster:
        async with connected(cluster, user="app", password=SECRET) as client:
            await client.make_stream("EVENTS", SUBJECTS)

        allowed = JetStream(cluster.servers, user="app", password=SECRET)
        assert await published(allowed) == RELAYED

        wrong = JetStream(cluster.servers, user="app", password=f"{SECRET}_wrong")
        problem = await refused(wrong)
        assert problem.is_refused
        assert problem.reason == "authorization violation"
    assert SECRET not in caplog.text


async def test_a_private_authority_is_trusted(
    tmp_path: Path, ca: CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    By `ssl_context`, or by the variables of OpenSSL, also where only the server wants TLS; else
    it is not.
    """
    async with with_tls(ca, tmp_path) as cluster:
        async with connected(cluster, tls=trusting(ca), tls_hostname="localhost") as client:
            await client.make_stream("EVENTS", SUBJECTS)

        for servers in (encrypted(cluster), named(cluster)):
            trusted = JetStream(servers, ssl_context=trusting(ca))
            assert await published(trusted) == RELAYED

        unknown = JetStream(encrypted(cluster))
        problem = await refused(unknown)
        assert problem.reason.startswith("TLS failed (certificate verify failed")

        ca.cert_pem.write_to_path(tmp_path / "ca.pem")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        assert await published(unknown) == RELAYED

        assert await published(JetStream(named(cluster))) == RELAYED


async def test_a_client_shows_its_certificate(tmp_path: Path, ca: CA) -> None:
    """
    The one that is in `ssl_context`, to a server that asks for one.
    """
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    asking = f"verify: true, ca_file: {str(tmp_path / 'ca.pem')!r}"
    context = trusting(ca)
    ca.issue_cert("app").configure_cert(context)
    async with with_tls(ca, tmp_path, asking) as cluster:
        async with connected(cluster, tls=context, tls_hostname="localhost") as client:
            await client.make_stream("EVENTS", SUBJECTS)

        shown = JetStream(encrypted(cluster), ssl_context=context)
        assert await published(shown) == RELAYED

        problem = await refused(JetStream(encrypted(cluster), ssl_context=trusting(ca)))
        assert problem.reason


@pytest.mark.parametrize("context", [None, ssl.create_default_context()], ids=["tls", "context"])
async def test_encryption_that_was_asked_for_is_never_left_out(context: Any) -> None:
    """
    A server that offers none learns nothing, least of all the password.
    """
    heard: list[bytes] = []

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        writer.write(b'INFO {"server_id":"x","version":"2.15.1","max_payload":1048576}\r\n')
        heard.append(await reader.read())
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        scheme = "nats" if context else "tls"
        stream = JetStream(
            f"{scheme}://{host}:{port}", user="app", password=SECRET, ssl_context=context
        )
        problem = await refused(stream)
        await until(lambda: heard)

    assert problem.reason == "TLS failed (the server offers none)"
    assert heard == [b""]


async def test_a_command_trusts_an_authority_and_shows_a_certificate(
    tmp_path: Path, ca: CA
) -> None:
    """
    `--ca` and `--cert` do for a command what `ssl_context` does for a program.
    """
    authority, shown = tmp_path / "ca.pem", tmp_path / "operator.pem"
    ca.cert_pem.write_to_path(authority)
    ca.issue_cert("operator").private_key_and_cert_chain_pem.write_to_path(shown)
    asking = f"verify: true, ca_file: {str(authority)!r}"
    async with with_tls(ca, tmp_path, asking) as cluster:
        setup = ("relay", "--setup", "--max-bytes", "10MB", "--servers", encrypted(cluster))
        done = await run(*setup, "--ca", str(authority), "--cert", str(shown))
        nothing_shown = await run(*setup, "--ca", str(authority))
        not_trusted = await run(*setup, "--cert", str(shown))

    assert (done.status, done.stderr) == (0, "")
    assert (nothing_shown.status, not_trusted.status) == (1, 1)
    assert "TLS failed (certificate verify failed" in not_trusted.stderr


async def test_credentials_let_a_command_in(tmp_path: Path) -> None:
    """
    By the option or by the variable, which an option of another way in outranks.
    """
    credentials = make_credentials(tmp_path / "operator.creds")
    path = str(credentials.file)
    async with Cluster(size=1, settings=credentials.settings) as cluster:
        servers = ("--servers", cluster.servers)
        setup = ("relay", "--setup", "--max-bytes", "10MB")
        done = await run(
            *setup,
            *servers,
            *("--credentials", path),
            HH_EXPORTER_JETSTREAM_USER="app",
            HH_EXPORTER_JETSTREAM_PASSWORD=SECRET,
        )
        seen = await run("fleet", *servers, HH_EXPORTER_JETSTREAM_CREDENTIALS=path)
        refused = await run(
            *("fleet", *servers, "--user", "app"),
            HH_EXPORTER_JETSTREAM_CREDENTIALS=path,
            HH_EXPORTER_JETSTREAM_PASSWORD=SECRET,
        )

    assert (done.status, done.stderr) == (0, "")
    assert (seen.status, seen.stderr) == (0, "")
    assert refused.status == 1
    assert "authorization violation: check user and password" in refused.stderr
    assert SECRET not in refused.stderr
