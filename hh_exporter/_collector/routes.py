"""
All routes of the collector, and the middlewares in front of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web
from attrs import frozen

from hh_exporter._collector.answers import errors_as_json
from hh_exporter._collector.clearing import Clearing
from hh_exporter._collector.ingest.calls import Calls
from hh_exporter._collector.ingest.faults import FaultRoutes
from hh_exporter._collector.ingest.ingestion import Ingestion
from hh_exporter._collector.ingest.runs import Runs
from hh_exporter._collector.ingest.tracing import Tracing
from hh_exporter._collector.ingest.updating import Updating
from hh_exporter._collector.page import Page
from hh_exporter._collector.query.reading import Reading

if TYPE_CHECKING:
    from collections.abc import Callable

    from hh_exporter._clock import Clock
    from hh_exporter._collector.connections import Connections
    from hh_exporter._collector.guard import Guard
    from hh_exporter._collector.ingest.bodies import Bodies
    from hh_exporter._collector.ingest.faults import FaultInjector
    from hh_exporter._collector.storage.store import Store

__all__ = ["Routes"]


@frozen(kw_only=True)
class Routes:
    """
    The handlers, around the store that they fill and read.
    """

    store: Store
    clock: Clock
    bodies: Bodies
    guard: Guard
    faults: FaultInjector
    connections: Connections
    note_update: Callable[[dict[str, Any]], None]

    def application(self) -> web.Application:
        """
        Make an application that serves them.
        """
        app = web.Application(middlewares=[self.connections.note, errors_as_json, self.guard.check])
        self.guard.add_to(app)
        calls = Calls(self.bodies, self.faults)
        Ingestion(self.store, self.clock, calls).add_to(app)
        Updating(self.store, calls, self.note_update).add_to(app)
        Tracing(self.store, self.clock, calls).add_to(app)
        Runs(self.clock, calls).add_to(app)
        FaultRoutes(self.faults, self.bodies).add_to(app)
        Reading(self.store, self.clock).add_to(app)
        Clearing(self.store).add_to(app)
        Page().add_to(app)
        return app
