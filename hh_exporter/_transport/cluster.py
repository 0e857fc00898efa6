"""
The servers of one NATS cluster: which one we are connected to.

Names are looked up by our resolver, not in the app's thread pool, and each server gets one
short try, so that one that is frozen costs no attempt its whole time.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress
from random import shuffle
from typing import Any

from attrs import define, field
from nats.aio.client import RawCredentials

from hh_exporter._clock import Clock, Deadline, within
from hh_exporter._helper import Helper
from hh_exporter._settings.jetstream import JetStream
from hh_exporter._transport.access import read_credentials
from hh_exporter._transport.addresses import parse_address
from hh_exporter._transport.client import CarefulClient, abort
from hh_exporter._transport.nats import Connection, apart, obeying
from hh_exporter._transport.refusals import NoConnection, explain
from hh_exporter._transport.resolver import Addresses, Resolver
from hh_exporter._transport.trust import find_trust

__all__ = ["Connector"]

_CONNECT = 2.0
"""Seconds for one server to answer: then the next one is tried."""

_PING = 5
_PINGS = 2
"""Seconds between two pings, and how many may be unanswered: a dead peer is noticed in 15 s."""


@define(eq=False, kw_only=True)
class Connector:
    """
    Opens connections to the servers of one cluster, for one event loop.
    """

    access: JetStream
    role: str
    """"app", "relay" or "operator": each has an inbox of its own, which permissions can name."""
    clock: Clock
    addresses: Addresses = field(factory=Addresses, repr=False)
    environ: Mapping[str, str] = field(default=os.environ, repr=False)
    _lookups: Helper = field(factory=lambda: Helper("hh_exporter lookups"), init=False)
    _trust: ssl.SSLContext | None = field(default=None, init=False, repr=False)
    _order: list[tuple[str, int, bool]] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._order = self.access.endpoints
        shuffle(self._order)

    def start(self) -> None:
        """
        Start the thread that looks up names, if there are any: soon it may be too late for that.
        """
        if any(parse_address(host) is None for host, _, _ in self._order):
            with suppress(OSError):  # tried again with each lookup
                self._lookups.start()

    def close(self) -> None:
        """
        Let the thread end after its current call. Any thread.
        """
        self._lookups.close()

    async def open(self, deadline: Deadline) -> Connection:
        """
        Connect to the first server that takes us, beginning with the one after the last.

        Raises:
            NoConnection: None did by *deadline*.
        """
        found = NoConnection("no server answered in time")
        for _ in range(len(self._order)):
            server = self._order.pop(0)
            self._order.append(server)
            try:
                async with within(self.clock, deadline):
                    return await apart(self._open_any(*server), Connection.cut)
            except NoConnection as exc:
                found = exc
                if exc.is_refused:
                    break
            except TimeoutError:
                break
        raise found

    async def _open_any(self, host: str, port: int, uses_tls: bool) -> Connection:
        """
        Connect to an address of *host*: one name may stand for all servers of a cluster.
        """
        problem = NoConnection("the host name has no address")
        try:
            for address in await self._look_up(host, port):
                try:
                    return await self._open_one(address, host, uses_tls)
                except NoConnection as exc:
                    problem = exc
                    if exc.is_refused:
                        break
        except OSError as exc:  # of the lookup
            problem = explain(exc, None)
        raise problem

    async def _open_one(self, address: str, host: str, uses_tls: bool) -> Connection:
        tls = uses_tls or self.access.ssl_context is not None
        client = CarefulClient(must_encrypt=tls)
        connection = Connection(client, f"_INBOX.hh_exporter.{self.role}", self.clock)
        access = self.access
        # Also of a server that demands TLS though nobody asked for it.
        options: dict[str, Any] = {"tls_hostname": host}
        if tls:
            options["tls"] = self._context()
        if access.user is not None and access.password is not None:
            options |= {"user": access.user, "password": access.password.reveal()}
        problem = NoConnection("no server answered in time")
        try:
            if access.credentials is not None:
                # Not by its path: nats-py never returns from a file without a token.
                options["user_credentials"] = RawCredentials(read_credentials(access.credentials))
            connecting = client.connect(
                f"{'tls' if tls else 'nats'}://{address}",
                name="hh_exporter",
                allow_reconnect=False,
                # Else it tries a server that isn't there for ever.
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                connect_timeout=_CONNECT,  # type: ignore[arg-type] # whole seconds, it says
                ping_interval=_PING,
                max_outstanding_pings=_PINGS,
                inbox_prefix=connection.inbox,
                # Nothing is kept for a connection that is lost. Nor does a publish wait for the
                # server then: in that wait, nats-py would swallow a cancellation.
                pending_size=0,
                skip_subject_validation=True,
                error_cb=connection.note_error,
                closed_cb=connection.note_closed,
                **options,
            )
            await obeying(connecting)
            connection.begin()
        except Exception as exc:  # it lets through what its files and libraries raise
            problem = exc if isinstance(exc, NoConnection) else explain(exc, connection.error)
        else:
            return connection
        finally:
            options.clear()  # error reporters keep the locals of frames
            if not connection.is_open:
                abort(client)
        raise problem

    async def _look_up(self, host: str, port: int) -> list[str]:
        """
        Find the addresses that nats-py need not look up, with the port, in any order.

        Raises:
            OSError: There is none, as of `Resolver.resolve`.
        """
        hosts = [host]
        if parse_address(host) is None:
            resolver = Resolver(self._lookups, self.clock, self.addresses)
            found = await resolver.resolve(host, port, family=socket.AF_UNSPEC)
            hosts = [each["host"] for each in found]
            shuffle(hosts)
        return [f"[{each}]:{port}" if ":" in each else f"{each}:{port}" for each in hosts]

    def _context(self) -> ssl.SSLContext:
        if self._trust is None:
            self._trust = (
                self.access.ssl_context or find_trust(self.environ) or ssl.create_default_context()
            )
        return self._trust
