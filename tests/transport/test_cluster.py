"""
Which server of a cluster is tried, and which one takes us.
"""

from __future__ import annotations

import socket

import pytest

from hh_exporter import JetStream
from hh_exporter._cli._cluster import Cluster
from hh_exporter._clock import NEVER, Clock, SystemClock
from hh_exporter._transport.cluster import Connector
from hh_exporter._transport.refusals import NoConnection
from hh_exporter._transport.resolver import Addresses, _Answer

NAME = "nats.example"


def knowing(clock: Clock, port: int, *hosts: str) -> Addresses:
    """
    Make the addresses of an exporter that has looked *NAME* up just now.
    """
    addresses = Addresses()
    found = [
        {
            "hostname": NAME,
            "host": host,
            "port": port,
            "family": socket.AF_INET,
            "proto": 0,
            "flags": 0,
        }
        for host in hosts
    ]
    question = NAME, port, socket.AF_UNSPEC
    addresses.answers[question] = _Answer(found, clock.now())  # type: ignore[arg-type]
    return addresses


async def test_each_address_of_a_name_is_tried(nats_server: Cluster) -> None:
    """
    One name may stand for a whole cluster, of which some servers are away.
    """
    port = JetStream(nats_server.servers).endpoints[0][1]
    clock = SystemClock()
    connector = Connector(
        access=JetStream(f"nats://{NAME}:{port}"),
        role="app",
        clock=clock,
        addresses=knowing(clock, port, "127.0.0.2", "127.0.0.1", "127.0.0.3"),
    )

    for _ in range(8):  # in any order
        connection = await connector.open(NEVER)
        assert connection.is_open
        await connection.close()
    connector.close()


async def test_it_is_told_why_no_address_of_a_name_takes_us(unused_tcp_port: int) -> None:
    """
    The last reason stands for all.
    """
    clock, port = SystemClock(), unused_tcp_port
    connector = Connector(
        access=JetStream(f"nats://{NAME}:{port}"),
        role="app",
        clock=clock,
        addresses=knowing(clock, port, "127.0.0.2", "127.0.0.1"),
    )

    with pytest.raises(NoConnection) as caught:
        await connector.open(NEVER)

    connector.close()
    assert caught.value.reason == "connection failed (connection refused)"


async def test_a_name_without_an_address_is_told() -> None:
    """
    In the words of a request that finds none.
    """
    connector = Connector(access=JetStream("nats://h.invalid"), role="app", clock=SystemClock())

    with pytest.raises(NoConnection) as caught:
        await connector.open(NEVER)

    connector.close()
    assert caught.value.reason == "connection failed (the host name can't be resolved)"
