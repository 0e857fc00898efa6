"""
Bodies become gzip, by whichever library is there.
"""

from __future__ import annotations

import asyncio
import gzip
import sys
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from typing import Any, TypeAlias

import pytest
from blockbuster import blockbuster_ctx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hh_exporter._helper import Helper
from hh_exporter._transport import compression
from tests.test_helper import named, out_of_threads

Compress: TypeAlias = Callable[[bytes], Coroutine[Any, Any, bytes]]

TEXT = b'{"role":"user","content":"What is the capital of France?"},'


@pytest.fixture(params=["isal", "zlib"])
def compress(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Compress]:
    """
    A copy of the module, imported with isal and without.
    """
    if request.param == "zlib":
        monkeypatch.setitem(sys.modules, "isal", None)
    assert compression.__file__
    spec = spec_from_file_location("compression", compression.__file__)
    assert spec
    assert spec.loader
    module: Any = module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (module.igzip is None) == (request.param == "zlib")
    helper = Helper("hh_exporter gzip")
    yield partial(module.compress, helper=helper)
    helper.close()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(body=st.binary(), copies=st.sampled_from([1, 2, 1000]))
def test_what_is_compressed_can_be_read(compress: Compress, body: bytes, copies: int) -> None:
    """
    Any body comes back from gzip as it was, on the loop and in a thread.
    """
    whole = (body + TEXT) * copies

    assert gzip.decompress(asyncio.run(compress(whole))) == whole


@pytest.mark.parametrize("copies", [1, 10_000])
async def test_the_same_body_makes_the_same_bytes(compress: Compress, copies: int) -> None:
    """
    No time is in the header, and text shrinks.
    """
    body = TEXT * copies

    first, second = await compress(body), await compress(body)

    assert first == second
    assert first[4:8] == bytes(4)
    assert copies == 1 or len(first) < len(body) / 2


@pytest.mark.parametrize(("size", "threads"), [(2**14, 0), (2**14 + 1, 1)])
async def test_only_a_large_body_is_worth_a_thread(
    compress: Compress, size: int, threads: int
) -> None:
    """
    Up to 16 KiB are compressed at once; more leaves the loop to others meanwhile.
    """
    with blockbuster_ctx():
        await compress(bytes(size))

    assert len(named("hh_exporter gzip")) == threads


async def test_without_a_thread_only_a_large_body_stays_as_it_is(
    compress: Compress, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Where no thread can be started a small body is compressed, and a large one is not.
    """
    with out_of_threads(monkeypatch):
        assert gzip.decompress(await compress(bytes(2**14))) == bytes(2**14)
        assert await compress(bytes(2**20)) is None


async def test_it_needs_no_thread_of_the_loop(compress: Compress) -> None:
    """
    Once the loop has shut its threads down, what is left can still be compressed.
    """
    await asyncio.get_running_loop().shutdown_default_executor()

    assert gzip.decompress(await compress(bytes(2**20))) == bytes(2**20)
