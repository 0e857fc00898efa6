"""
A server in a process of its own, which names its port and ends when its parent does.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["running", "serve"]


@contextmanager
def running(module: str, argument: float) -> Iterator[str]:
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
