"""
The clients that the exporter is measured beside, each as its own manual sets it up.

One rule: none of them drops an event or speaks to anybody but the sink. So their
queues hold a whole burst, and what the environment says is out of their sight.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks._peers import aiohttp_alone, honeyhive, langsmith, opentelemetry
from benchmarks._peers._peer import (
    Emitter,
    Open,
    Peer,
    Send,
    Start,
    Trace,
    Tracing,
    in_one_go,
)

__all__ = [
    "PEERS",
    "Emitter",
    "Open",
    "Peer",
    "Send",
    "Start",
    "Trace",
    "Tracing",
    "in_one_go",
    "secluded",
]

PEERS = (opentelemetry.PEER, langsmith.PEER, honeyhive.PEER, aiohttp_alone.PEER)

_READ_BY_PEERS = ("OTEL_", "LANGFUSE_", "LANGSMITH_", "LANGCHAIN_", "HH_", "HONEYHIVE_")


@contextmanager
def secluded() -> Iterator[None]:
    """
    Hide what the environment tells the peers, such as keys, addresses and proxies.
    """
    before = dict(os.environ)
    for name in before:
        if name.startswith(_READ_BY_PEERS) or name.lower().endswith("_proxy"):
            del os.environ[name]
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
