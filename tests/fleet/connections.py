"""
Our own connections to servers of tests.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from hh_exporter._cli._cluster import Cluster
from hh_exporter._clock import Clock, Deadline, SystemClock
from hh_exporter._settings.jetstream import JetStream
from hh_exporter._transport.cluster import Connector
from hh_exporter._transport.nats import Connection
from tests.support import PATIENCE

__all__ = ["opened", "soon"]


def soon(seconds: float = PATIENCE, clock: Clock | None = None) -> Deadline:
    """
    Make a deadline *seconds* from now.
    """
    now = (clock or SystemClock()).now()
    return Deadline(now + seconds, now)


@asynccontextmanager
async def opened(
    servers: str | Cluster, role: str = "operator", **access: Any
) -> AsyncIterator[Connection]:
    """
    Connect with one of *servers*, as its user of that *role*.
    """
    addresses = servers if isinstance(servers, str) else servers.servers
    connector = Connector(access=JetStream(addresses, **access), role=role, clock=SystemClock())
    try:
        connection = await connector.open(soon())
        try:
            yield connection
        finally:
            await connection.close()
    finally:
        connector.close()
