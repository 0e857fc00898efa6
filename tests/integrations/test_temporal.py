"""
A Temporal worker that is told to end in the middle of a load, and workflows in the real sandbox.
"""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path

import pytest

from tests.integrations.test_recipes import block, write
from tests.integrations.test_workers import LATE
from tests.loads import MODEL, asked, noting
from tests.programs import started
from tests.scripted_server import ScriptedServer
from tests.sites import ROOT

pytest.importorskip("temporalio", reason="needs the extra workers")

SERVER = str(ROOT / "tests/integrations/temporal_server.py")


async def test_what_activities_recorded_before_sigterm_is_delivered(
    server: ScriptedServer, tmp_path: Path
) -> None:
    """
    Each activity that the worker took ends, and its event arrives.
    """
    environ = write(tmp_path, "temporal") | LATE | {"HH_API_URL": server.url}
    (tmp_path / "my_model.py").write_text(MODEL)
    [_, name] = block("temporal", "sh").split()
    with noting(tmp_path) as notes, started(SERVER, environ={}) as temporal:
        environ |= notes.environ | {"TEMPORAL_ADDRESS": await temporal.line()}
        with started(str(tmp_path / name), environ=environ) as program:
            await notes.busy()
            program.send(signal.SIGTERM)
            done = await program.ended()

    assert asked(server) == notes.pushed()
    assert notes.cut_off() == Counter()
    assert (done.status, done.stderr) == (0, "")


REPLAY = """
import asyncio
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

def history(workflow, *further):
    words = Payloads(payloads=[Payload(metadata={"encoding": b"json/plain"}, data=b'"words"')])
    completed = {"result": words}
    events = [
        ("WORKFLOW_EXECUTION_STARTED", {"input": words, "attempt": 1}),
        ("WORKFLOW_TASK_SCHEDULED", {}),
        ("WORKFLOW_TASK_STARTED", {"scheduled_event_id": 2}),
        ("WORKFLOW_TASK_COMPLETED", {"scheduled_event_id": 2, "started_event_id": 3}),
        *further,
        ("WORKFLOW_EXECUTION_COMPLETED", completed),
    ]
    made = []
    for number, (kind, attributes) in enumerate(events, 1):
        event = HistoryEvent(event_id=number, event_type=EventType.Value(f"EVENT_TYPE_{kind}"))
        event.event_time.GetCurrentTime()
        own = getattr(event, f"{kind.lower()}_event_attributes")
        own.SetInParent()
        own.MergeFrom(type(own)(**attributes))
        made.append(event)
    started = made[0].workflow_execution_started_event_attributes
    started.workflow_type.name = workflow.__name__
    started.original_execution_run_id = "3f1c0000-0000-4000-a000-000000000000"
    started.first_execution_run_id = started.original_execution_run_id
    started.task_queue.name = "q"
    started.workflow_task_timeout.seconds = 10
    made[1].workflow_task_scheduled_event_attributes.task_queue.name = "q"
    made[1].workflow_task_scheduled_event_attributes.attempt = 1
    return WorkflowHistory("a workflow", made)

async def replay(workflow, *further):
    replayer = Replayer(workflows=[workflow])
    await replayer.replay_workflow(history(workflow, *further))
"""
"""
Runs a workflow in the sandbox, without a server: `replay(workflow, *events)` raises if it does
anything else than its history says.
"""


async def test_the_workflow_of_the_recipe_can_be_replayed(
    server: ScriptedServer, tmp_path: Path
) -> None:
    """
    It is what its history says, each time, and records nothing by itself.
    """
    environ = write(tmp_path, "temporal") | {"HH_API_URL": server.url}
    (tmp_path / "my_model.py").write_text("ask_model = None")
    source = """
import app

task = {"scheduled_event_id": 8, "started_event_id": 9}
activity = {"scheduled_event_id": 5}
asyncio.run(replay(
    app.Ask,
    ("ACTIVITY_TASK_SCHEDULED", {"activity_id": "1", "activity_type": {"name": "ask"}}),
    ("ACTIVITY_TASK_STARTED", activity),
    ("ACTIVITY_TASK_COMPLETED", activity | {"started_event_id": 6}),
    ("WORKFLOW_TASK_SCHEDULED", {}),
    ("WORKFLOW_TASK_STARTED", {"scheduled_event_id": 8}),
    ("WORKFLOW_TASK_COMPLETED", task),
))
"""

    with started("-c", REPLAY + source, environ=environ) as program:
        done = await program.ended()

    assert (done.status, done.stderr) == (0, "")
    assert not server.requests


WORKFLOW = """
from temporalio import workflow

{imports}

@workflow.defn
class Careless:
    @workflow.run
    async def run(self, words):
        with telemetry.exporter.session(session_id="s"):
            async with telemetry.exporter.trace("t", event_id="traced"):
                with telemetry.exporter.record(model="m", event_id="recorded"):
                    pass
        telemetry.call()
        taken = telemetry.exporter.push(telemetry.ModelEvent(model="m", event_id="pushed"))
        refused = []
        for wait in (telemetry.exporter.flush, telemetry.exporter.aclose, telemetry.exporter.start):
            try:
                await wait()
            except Exception as exc:
                refused.append(type(exc).__name__)
        with workflow.unsafe.sandbox_unrestricted():
            print(taken, *refused, flush=True)
        return words
"""

PASSED = """
with workflow.unsafe.imports_passed_through():
    import telemetry
"""


@pytest.mark.parametrize(
    ("imports", "is_sent"),
    [(PASSED, True), ("import telemetry", False)],
    ids=["passed through", "in the sandbox"],
)
async def test_a_workflow_that_records_harms_nobody(
    server: ScriptedServer, tmp_path: Path, imports: str, *, is_sent: bool
) -> None:
    """
    Its events are sent by the worker's loop, or counted; it goes on in any case, and so does all.
    """
    (tmp_path / "careless.py").write_text(WORKFLOW.format(imports=imports))
    (tmp_path / "telemetry.py").write_text(
        "from hh_exporter import Exporter, ModelEvent\n"
        "exporter = Exporter()\n"
        "@exporter.trace(event_id='called')\n"
        "def call(): pass"
    )
    source = """
import careless

async def main():
    await replay(careless.Careless)
    async with careless.telemetry.exporter as exporter:
        exporter.push(careless.telemetry.ModelEvent(model="m", event_id="later"))

asyncio.run(main())
"""
    environ = {"PYTHONPATH": f"{ROOT}:{tmp_path}", "HH_API_URL": server.url}

    with started("-c", REPLAY + source, environ=environ) as program:
        done = await program.ended()

    assert done.status == 0, done.stderr
    assert done.stdout == f"{is_sent} ExporterError ExporterError ExporterError\n"
    sent = {"recorded", "traced", "called", "pushed"} if is_sent else set()
    assert set(server.created_ids) == sent | {"later"}
    assert ("hh_exporter: push failed with RestrictedWorkflowAccessError" in done.stderr) != is_sent
