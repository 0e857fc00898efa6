"""
Web apps, in this process or in one of their own, and the crowd that asks them.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import uvicorn
from attrs import define, field

from tests.command import Finished
from tests.programs import Program, started
from tests.scripted_server import ScriptedServer
from tests.support import PATIENCE, until

__all__ = ["MODEL", "ROOT", "Site", "served", "serving", "taken"]

ROOT = Path(__file__).parents[1]

CROWD = 4
"""How many ask at once, without pause."""

MODEL = """
import asyncio

async def ask_model(messages):
    await asyncio.sleep(0.001)
    return {"role": "assistant", "content": "an answer"}
"""
"""The module `my_model` that the apps import."""


@define(eq=False)
class Site:
    """
    A web app in a process of its own, and the crowd that asks it.

    Attributes:
        question: What the crowd asks, each time with another number.
        path: Where, each time with another question.
        answered: What was answered, by question.
        is_stopping: Whether an answer may say that the app is ending.
        done: How the process ended.
    """

    program: Program
    url: str
    question: str
    path: str
    answered: dict[str, bytes] = field(init=False, factory=dict)
    is_stopping: bool = field(init=False, default=False)
    done: Finished = field(init=False)
    _asked: int = field(init=False, default=0)
    _news: asyncio.Event = field(init=False, factory=asyncio.Event)

    async def ask(self, session: aiohttp.ClientSession) -> None:
        """
        Have one question after the other answered, until nobody listens any more.
        """
        while True:
            self._asked += 1
            question = self.question.format(self._asked)
            try:
                async with session.get(self.url + self.path.format(question)) as answer:
                    text = await answer.read()
                    if answer.status != 200:
                        assert self.is_stopping, text
                        continue  # as some servers answer whom they cut off
            except aiohttp.ClientConnectorError:
                if self.answered or self.program.process.poll() is not None:
                    return
                await asyncio.sleep(0)  # it may say that it listens just before it does
                continue
            except aiohttp.ClientError:
                continue  # not answered, as is to be expected of a server that ends
            self.answered[question] = text
            self._news.set()

    async def busy(self, count: int = 20) -> None:
        """
        Wait until that many questions were answered.
        """
        await self.heard(lambda: len(self.answered) >= count)

    async def heard(self, enough: Callable[[], bool]) -> None:
        """
        Wait until the answers are *enough*.
        """
        async with asyncio.timeout(PATIENCE):
            while not enough():
                self._news.clear()
                await self._news.wait()


def taken(*, is_open: bool) -> socket.socket:
    """
    Take a port of this machine: to listen there, or for another process to do so.
    """
    taken = socket.socket()
    for option in (socket.SO_REUSEADDR, *(() if is_open else (socket.SO_REUSEPORT,))):
        taken.setsockopt(socket.SOL_SOCKET, option, 1)
    taken.bind(("127.0.0.1", 0))
    if is_open:
        taken.listen(128)
    return taken


@asynccontextmanager
async def serving(
    server: ScriptedServer,
    directory: Path,
    source: str,
    command: Callable[[int], list[str]],
    *,
    question: str = "question {}",
    path: str = "/ask?question={}",
    model: str = MODEL,
    python: str | Path = sys.executable,
    ready: str | None = None,
    **environ: str,
) -> AsyncIterator[Site]:
    """
    Run *source* as the module `app` while the crowd asks it, until its process has ended.

    Args:
        command: Makes the arguments for Python of the file descriptor of the socket to serve; of
            the port to serve for a server that only takes that, and says when it listens.
        model: The module `my_model`.
        python: Which Python; that of another environment has other libraries.
        ready: What such a server prints once it listens.
    """
    (directory / "app.py").write_text(source)
    (directory / "my_model.py").write_text(model)
    with taken(is_open=ready is None) as listener:
        port = listener.getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        with started(
            *command(port if ready else listener.fileno()),
            environ={
                "HH_API_URL": server.url,
                "PYTHONPATH": f"{ROOT}:{directory}",
                "XDG_RUNTIME_DIR": str(directory),  # where gunicorn has a socket of its own
                **environ,
            },
            passes=() if ready else (listener.fileno(),),
            python=python,
        ) as program:
            if ready is None:
                listener.close()  # ours, so that it is closed once the server has closed its own
            while ready and ready not in await program.line():
                pass
            site = Site(program, url, question, path)
            # A connection for each question: uvicorn waits for those that go on asking on theirs.
            connector = aiohttp.TCPConnector(force_close=True)
            async with aiohttp.ClientSession(connector=connector) as session:
                crowd = [asyncio.create_task(site.ask(session)) for _ in range(CROWD)]
                yield site
                site.done = await program.ended()
                await asyncio.gather(*crowd)


@asynccontextmanager
async def served(app: Any, **config: Any) -> AsyncIterator[str]:
    """
    Serve an ASGI *app* with uvicorn in this loop; yields its address.

    With an app that fails to start, the address is of no use.
    """
    site = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, **config))
    task = asyncio.create_task(site.serve())
    await until(lambda: site.started or task.done())
    port = site.servers[0].sockets[0].getsockname()[1] if site.started else 0
    yield f"http://127.0.0.1:{port}"
    site.should_exit = True
    await task
