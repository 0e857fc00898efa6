"""
POST and PUT /v1/runs: runs of experiments, which are answered and not stored.

Their events are stored like others, and name the run in their metadata.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from attrs import frozen

from hh_exporter._collector.answers import json_answer
from hh_exporter._collector.ingest.validation import RUN
from hh_exporter.events import new_id

if TYPE_CHECKING:
    from aiohttp import web

    from hh_exporter._clock import Clock
    from hh_exporter._collector.ingest.calls import Call, Calls

__all__ = ["Runs"]

Json: TypeAlias = dict[str, Any]

_RUN: Final[Json] = {
    "metadata": {},
    "results": {},
    "event_ids": [],
    "configuration": {},
    "is_active": True,
    "scope_type": "project",
    "scope_id": "local",
}
"""What an official client insists on."""


@frozen
class Runs:
    """
    The handlers.
    """

    clock: Clock
    calls: Calls

    def add_to(self, app: web.Application) -> None:
        """
        Let *app* serve them.
        """
        app.router.add_post("/v1/runs", self.calls.taking(RUN, self.create_run))
        app.router.add_put("/v1/runs/{run_id}", self.calls.taking(RUN, self.update_run))

    async def create_run(self, call: Call[Json]) -> web.Response:
        """
        Give a run an id, unless it has one.
        """
        run_id = call.body.get("run_id")
        return self._shown(call, run_id if isinstance(run_id, str) and run_id else new_id())

    async def update_run(self, call: Call[Json]) -> web.Response:
        """
        Answer as if the run were changed.
        """
        return self._shown(call, call.request.match_info["run_id"])

    def _shown(self, call: Call[Json], run_id: str) -> web.Response:
        now = datetime.fromtimestamp(self.clock.wall(), UTC).isoformat()
        run = {**_RUN, "created_at": now, **call.body, "id": run_id, "run_id": run_id}
        return json_answer({"evaluation": run, "run_id": run_id})
