"""
Servers in processes of their own: each names its port, and ends when its parent does.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["ask", "running", "serve"]

# Past any proxy of the environment.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def ask(url: str) -> bytes:
    """
    GET what one of our servers says of itself.
    """
    with _opener.open(url) as response:
        content: bytes = response.read()
        return content


@contextmanager
def running(module: str, argument: float | str) -> Iterator[str]:
    """
    Run *module*, which calls `serve`, with one argument for a block of code.

    Returns:
        The server's URL.
    """
    with subprocess.Popen(
        [sys.executable, "-m", module, str(argument)],
        cwd=Path(__file__).parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for the benchmark
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.stdin.close()


async def serve(connect: Callable[[], asyncio.BaseProtocol]) -> None:
    """
    Serve each connection by what *connect* makes, until standard input ends.
    """
    loop = asyncio.get_running_loop()
    server = await loop.create_server(connect, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    # However the benchmark ends, its end of the pipe goes with it.
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()
