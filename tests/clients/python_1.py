"""
What was recorded of PyPI honeyhive 1.x, said again by that client; run by test_official_clients.py.

Prints for each case, as JSON, what the client made of the answer.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from honeyhive import HoneyHive, models
from honeyhive._generated import models as generated
from honeyhive._generated.api_config import APIConfig
from honeyhive._generated.services import Events_service as events
from honeyhive._generated.services import Experiments_service as experiments
from honeyhive._generated.services import Sessions_service as sessions


def say_more(config: APIConfig) -> dict[str, Any]:
    """
    Use the routes for what is said later: traces of a session, updates, runs.
    """
    event = {"event_type": "tool", "event_id": "traced", "inputs": {}}
    sessions.addSessionTracesLegacy(
        config,
        session_id="caf77ace-3417-4da4-944d-f4a0688f3c23",
        data=generated.AddSessionTracesRequest(events=[event]),
    )
    events.updateEventLegacy(
        config, data=generated.LegacyUpdateEventRequest(event_id="traced", metadata={"old": True})
    )
    events.updateEvent(
        config, event_id="traced", data=generated.UpdateEventRequest(metadata={"new": True})
    )
    run = experiments.createRun(config, data=generated.PostExperimentRunRequest(name="first"))
    changed = experiments.updateRun(
        config, run_id=run.run_id, data=generated.PutExperimentRunRequest(status="completed")
    )
    return {"name": run.evaluation.name, "status": changed.evaluation.status}


def main(url: str, golden: str) -> None:
    client = HoneyHive(api_key="hh_test_key", server_url=url)
    # Each call loads the certificates anew, which plain HTTP needs not.
    config = APIConfig(base_path=url, access_token="hh_test_key", verify=False)
    high = {
        "/events": (client.events.create, models.PostEventRequest),
        "/events/batch": (client.events.create_batch, models.PostEventBatchRequest),
        "/session/start": (client.sessions.start, None),
    }
    low = {
        "/events/model": (events.createModelEventLegacy, generated.PostModelEventRequest),
        "/events/model/batch": (
            events.createModelEventBatchLegacy,
            generated.PostModelEventBatchRequest,
        ),
        "/session/start": (sessions.startSessionLegacy, generated.LegacyStartSessionRequest),
        "/v1/events": (events.createEvent, generated.PostEventRequest),
        "/v1/events/batch": (events.createEventBatch, generated.PostEventBatchRequest),
        "/v1/sessions": (sessions.createSession, generated.StartSessionRequest),
    }
    seen: dict[str, Any] = {}
    for path in sorted(Path(golden).glob("python-1.x-*.json")):
        recorded = json.loads(path.read_text())
        body = recorded["body"]
        if recorded["client"] == "python-1.x-high":
            call, make = high[recorded["path"]]
            answer = call(make(**body) if make else body["session"])
        else:
            call, make = low[recorded["path"]]
            answer = call(config, data=make(**body))
        seen[path.stem] = answer.model_dump()
    many = json.loads((Path(golden) / "python-1.x-v1.batch_three.json").read_text())["body"]
    answer = sessions.createSessionEventBatch(
        config,
        session_id="caf77ace-3417-4da4-944d-f4a0688f3c23",
        data=generated.SessionEventBatchRequest(events=many["events"]),
    )
    seen["session_events"] = answer.model_dump()
    seen["later"] = say_more(config)
    print(json.dumps(seen))


main(*sys.argv[1:])
