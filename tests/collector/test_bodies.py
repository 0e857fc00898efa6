"""
Packed bodies: what is unpacked, what is refused, and how much memory that may take.
"""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from typing import TYPE_CHECKING

import orjson
import pytest

from hh_exporter._collector import Collector
from tests.collector_client import V1_MANY, post, refusal, stored, v1_event

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

LIMIT = 5_000_000
EVENT = v1_event(event_id="e1", metadata={"text": "日本語" * 1000})
BODY = orjson.dumps({"events": [EVENT]})
REFUSED = refusal("body: is not in its Content-Encoding")


def bare_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def zeros(size: int) -> bytes:
    """
    Pack *size* bytes of nothing, a megabyte at a time.
    """
    packer = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    return b"".join(packer.compress(bytes(2**20)) for _ in range(size // 2**20)) + packer.flush()


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with Collector() as collector:
        yield collector


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        ("identity", bytes),
        ("gzip", gzip.compress),
        ("GZip", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", bare_deflate),
    ],
)
async def test_a_packed_body_is_unpacked(
    collector: Collector, encoding: str, pack: Callable[[bytes], bytes]
) -> None:
    """
    gzip and deflate are read, deflate with and without the zlib format around it.
    """
    status, _ = await post(collector, V1_MANY, pack(BODY), **{"Content-Encoding": encoding})

    assert status == 200
    assert [found.event for found in await stored(collector)] == [EVENT]


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@pytest.mark.parametrize(
    "body",
    [b"", BODY, gzip.compress(BODY)[:-1], gzip.compress(BODY) + b"x", zlib.compress(BODY)[:-9]],
    ids=["empty", "not packed", "cut gzip", "more than gzip", "cut deflate"],
)
async def test_a_body_that_is_not_in_its_encoding_is_refused(
    collector: Collector, encoding: str, body: bytes
) -> None:
    """
    What can't be unpacked to its end, and nothing more, is a bad request.
    """
    answer = await post(collector, V1_MANY, body, **{"Content-Encoding": encoding})

    assert answer == REFUSED
    assert await collector.count() == 0


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip"])
async def test_another_encoding_is_refused(collector: Collector, encoding: str) -> None:
    """
    What it can't unpack is answered 415, as JSON.
    """
    status, answer = await post(collector, V1_MANY, BODY, **{"Content-Encoding": encoding})

    assert (status, answer["errorCode"]) == (415, "unsupported_encoding")
    assert "must be gzip or deflate" in answer["message"]


@pytest.mark.parametrize(("excess", "expected"), [(0, 200), (1, 413)])
async def test_an_unpacked_body_may_have_five_megabytes(
    collector: Collector, excess: int, expected: int
) -> None:
    """
    The bound is that of a body that was sent as it is, and the collector goes on.
    """
    body = gzip.compress(BODY.ljust(LIMIT + excess), compresslevel=1)

    status, answer = await post(collector, V1_MANY, body, **{"Content-Encoding": "gzip"})
    again, _ = await post(collector, V1_MANY, BODY)

    assert (status, again) == (expected, 200)
    assert answer.get("errorCode") == (None if expected == 200 else "body_too_large")


async def test_a_bomb_takes_no_memory(collector: Collector) -> None:
    """
    A small body that unpacks to half a gigabyte is refused before it is unpacked.
    """
    bomb = zeros(2**29)
    assert len(bomb) < 2**20

    tracemalloc.start()
    try:
        status, answer = await post(collector, V1_MANY, bomb, **{"Content-Encoding": "gzip"})
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert (status, answer["errorCode"]) == (413, "body_too_large")
    assert peak < 3 * LIMIT


@pytest.mark.parametrize("empty", [b"[]", b"{}"])
async def test_a_body_of_many_containers_takes_no_memory(
    collector: Collector, empty: bytes
) -> None:
    """
    Objects and arrays, which take many times their bytes once they are read, are bounded.
    """
    event = orjson.dumps(EVENT)[:-1] + b',"inputs":{"a":[' + b",".join([empty] * 1_100_000) + b"]}}"

    tracemalloc.start()
    try:
        status, answer = await post(collector, V1_MANY, b'{"events":[' + event + b"]}")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert (status, answer["errorCode"]) == (413, "body_too_large")
    assert "1,000,000 objects and arrays" in answer["message"]
    assert peak < 3 * LIMIT
