"""
NATS servers with JetStream on this machine: a cluster, or one by itself, in a temporary folder.

They are real processes, which can be killed, stopped and frozen one by one. The rule: none
outlives the program that started it, however that ends.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import IO, Any, Self

from attrs import define, field

from hh_exporter._cli import _guard
from hh_exporter._cli._errors import CallError
from hh_exporter._cli._server import Server, find_nats_server
from hh_exporter._clock import Clock, SystemClock

__all__ = ["Cluster"]

_PATIENCE = 45.0
"""Seconds after which servers that do not answer have failed."""
_LOOK = 0.02


@define(eq=False, kw_only=True)
class Cluster:
    """
    Servers of one cluster, numbered from 1 and named n1, n2 and so on.

    An asynchronous context manager: all run and answer in the block, and none runs after it. Its
    methods may be called in different event loops, one after the other. Clients learn no address
    but those that they are given (`no_advertise`), so a proxy can stand before each.

    Attributes:
        size: How many servers; one alone is no cluster, and starts faster.
        settings: More of their configuration, such as users, accounts or TLS.
        storage: More of its block `jetstream`, such as `sync_interval: always`.
        max_file_store: What each may store, in bytes.
        clock: What waiting is measured by.
    """

    size: int = 3
    settings: str = ""
    storage: str = ""
    max_file_store: int = 2**30
    clock: Clock = field(factory=SystemClock)
    _servers: list[Server] = field(init=False, factory=list)
    _guarding: tuple[subprocess.Popen[bytes], IO[bytes]] | None = field(init=False, default=None)

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.end()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.end()

    @property
    def addresses(self) -> list[str]:
        """
        List the address of each server, whether it runs or not.
        """
        return [f"nats://{server.client}" for server in self._servers]

    @property
    def servers(self) -> str:
        """
        Give all addresses as one text, as in `--servers`.
        """
        return ",".join(self.addresses)

    @property
    def pids(self) -> dict[int, int]:
        """
        Give the process id of each server that runs, frozen ones too, by its number.
        """
        return {s.number: s.pid for s in self._servers if s.pid is not None}

    async def start(self, *numbers: int) -> None:
        """
        Start servers, or all that do not run, on the ports and with the storage that they had.

        Returns as `answered` does.

        Raises:
            CallError: One has ended, or does not answer in time; the text has its log's end.
        """
        program = find_nats_server()
        if not self._servers:
            self._prepare()
        for server in [self._server(number) for number in numbers] or self._servers:
            if server.pid is None:
                server.start(program)
        self._tell_guard()
        await self.answered()

    async def answered(self) -> None:
        """
        Wait until JetStream answers at each server that runs and is not frozen.

        Where these are no majority, it can't: until they answer at all, then.

        Raises:
            CallError: One has ended, or does not answer in time; the text has its log's end.
        """
        asked = [server for server in self._servers if server.answers]
        is_majority = 2 * len(asked) > self.size

        async def ask() -> bool:
            for server in asked:
                if server.has_ended():
                    raise CallError(f"a NATS server has ended; its log:\n{server.log_end()}")
                status = (await server.ask("healthz")).get("status")
                if status is None or (is_majority and status != "ok"):
                    return False
            return True

        await self._until(ask, "do not answer")

    async def kill(self, number: int) -> None:
        """
        Kill a server, frozen or not (SIGKILL), and wait until it is gone.
        """
        await self._end(signal.SIGKILL, number)

    async def kill_all(self) -> None:
        """
        Kill all that run, at once.
        """
        await self._end(signal.SIGKILL, *self.pids)

    async def stop(self, number: int) -> None:
        """
        Stop a server in order (SIGTERM), and wait until it is gone; a frozen one is thawed.
        """
        self.thaw(number)
        await self._end(signal.SIGTERM, number)

    async def freeze(self, number: int) -> None:
        """
        Have a server do nothing (SIGSTOP), and wait until all of it stands still.
        """
        server = self._server(number)
        server.send(signal.SIGSTOP)
        await self._until_true(lambda: server.has_stopped() or server.has_ended())

    def thaw(self, number: int) -> None:
        """
        Let a frozen server go on.
        """
        self._server(number).send(signal.SIGCONT)

    async def leader_of(self, stream: str, consumer: str | None = None) -> int:
        """
        Find the server that leads a stream, or a consumer of it, in whichever account.

        Waits until all that answer name the same: seconds, where the one before has died.

        Raises:
            CallError: There is none in time.
        """
        found = 0

        async def ask() -> bool:
            nonlocal found
            asked = [server for server in self._servers if server.answers]
            named = set[str | None]()
            for server in asked:
                detail = await server.ask("jsz?accounts=true&streams=true&consumers=true")
                named.update(_leaders(detail, stream, consumer, server.name))
            # Some may still name one that is no more; and one that was, itself.
            if len(named) == 1:
                found = next((server.number for server in asked if server.name in named), 0)
            return found > 0

        await self._until(ask, f"have no leader of {consumer or stream}")
        return found

    async def end(self) -> None:
        """
        Kill all servers and remove their folder; works twice.
        """
        try:
            await self.kill_all()
        finally:
            if self._guarding is not None:
                guard, told = self._guarding
                told.close()
                self._guarding = None
                await self._until_true(lambda: guard.poll() is not None)
            for server in self._servers:
                server.release_ports()
            self._servers = []

    def _prepare(self) -> None:
        """
        Make the folder, with a guard that removes it, and a configuration for each server.
        """
        folder = Path(mkdtemp(prefix="hh-nats-"))
        guard = subprocess.Popen(  # noqa: S603
            (sys.executable, "-I", "-S", _guard.__file__, folder),
            stdin=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,  # what is typed at the terminal is for the program
        )
        if guard.stdin is not None:
            self._guarding = guard, guard.stdin
        self._servers = [Server(number, folder) for number in range(1, self.size + 1)]
        storage = f"max_file_store: {self.max_file_store}\n{self.storage}"
        for server in self._servers:
            others = [other for other in self._servers if other is not server]
            server.configure(others, storage, self.settings)

    def _tell_guard(self) -> None:
        if self._guarding is not None:
            with suppress(BrokenPipeError):  # somebody has killed it
                self._guarding[1].write(f"{' '.join(map(str, self.pids.values()))}\n".encode())

    def _server(self, number: int) -> Server:
        if not 1 <= number <= len(self._servers):
            raise ValueError(f"there is no server {number}: they are numbered from 1")
        return self._servers[number - 1]

    async def _end(self, number: signal.Signals, *servers: int) -> None:
        ending = [self._server(one) for one in servers]
        for server in ending:
            server.send(number)
        await self._until_true(lambda: all(server.has_ended() for server in ending))
        self._tell_guard()

    async def _until_true(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await self.clock.sleep(_LOOK)

    async def _until(self, condition: Callable[[], Awaitable[bool]], problem: str) -> None:
        try:
            async with self.clock.timeout_at(self.clock.now() + _PATIENCE):
                while not await condition():
                    await self.clock.sleep(_LOOK)
        except TimeoutError:
            logs = "\n".join(server.log_end() for server in self._servers)
            raise CallError(f"NATS servers {problem} after {_PATIENCE:.0f} s:\n{logs}") from None


def _leaders(
    detail: dict[str, Any], stream: str, consumer: str | None, alone: str
) -> Iterator[str | None]:
    """
    Name who leads, as one server sees it; one that is *alone* leads all that it has.
    """
    for account in detail.get("account_details", ()):
        for one in account.get("stream_detail", ()):
            if one["name"] == stream:
                found = [one] if consumer is None else one.get("consumer_detail", ())
                for each in found:
                    if consumer in (None, each["name"]):
                        yield each.get("cluster", {"leader": alone}).get("leader")
