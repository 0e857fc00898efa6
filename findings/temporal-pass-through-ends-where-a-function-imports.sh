#!/usr/bin/env bash
# temporalio 1.35.0: what a workflow imports under `imports_passed_through()` is not reloaded by
# the sandbox, and neither is what that module imports at its top. What a function of it imports
# when the workflow calls it is: though the process, and that very module, have it loaded, the
# sandbox warns and loads a second copy, with its own state, in which no clock may be read. So a
# library that imports within functions, as many do to start fast, fails in some of its calls. Each
# module that is imported so must be passed through, too, by its own name.
#
# Seen with Python 3.11 and temporalio 1.35.0:
#
#     passing telemetry through, its use of clockwork from the top: works, the same copy
#     passing telemetry through, its use of clockwork from a function: RestrictedWorkflowAccessError, a second copy
#     passing clockwork through, too, its use of clockwork from a function: works, the same copy
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet temporalio==1.35.0
cat >"$work/clockwork.py" <<'PY'
import time


def read() -> float:
    return time.monotonic()
PY
cat >"$work/telemetry.py" <<'PY'
from types import ModuleType

import clockwork

seen: list[str] = []


def from_top() -> ModuleType:
    return clockwork


def from_function() -> ModuleType:
    import clockwork

    return clockwork
PY
cat >"$work/flow.py" <<'PY'
from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    import telemetry


def look(module) -> str:
    copy = "the same copy" if module is telemetry.clockwork else "a second copy"
    try:
        module.read()
    except Exception as exc:
        return f"{type(exc).__name__}, {copy}"
    return f"works, {copy}"


@workflow.defn
class Flow:
    @workflow.run
    async def run(self) -> None:
        telemetry.seen += [look(telemetry.from_top()), look(telemetry.from_function())]
PY
cat >"$work/look.py" <<'PY'
import asyncio

import flow
import telemetry
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

RUN = "3f1c0000-0000-4000-a000-000000000000"
QUEUE = {"task_queue": {"name": "q"}}
EVENTS = {
    "WORKFLOW_EXECUTION_STARTED": QUEUE
    | {
        "workflow_type": {"name": "Flow"},
        "original_execution_run_id": RUN,
        "first_execution_run_id": RUN,
        "attempt": 1,
    },
    "WORKFLOW_TASK_SCHEDULED": QUEUE | {"attempt": 1},
    "WORKFLOW_TASK_STARTED": {"scheduled_event_id": 2},
    "WORKFLOW_TASK_COMPLETED": {"scheduled_event_id": 2, "started_event_id": 3},
    "WORKFLOW_EXECUTION_COMPLETED": {},
}


def history() -> WorkflowHistory:
    made = []
    for number, (kind, attributes) in enumerate(EVENTS.items(), 1):
        event = HistoryEvent(event_id=number, event_type=EventType.Value(f"EVENT_TYPE_{kind}"))
        event.event_time.GetCurrentTime()
        own = getattr(event, f"{kind.lower()}_event_attributes")
        own.SetInParent()
        own.MergeFrom(type(own)(**attributes))
        made.append(event)
    return WorkflowHistory("a workflow", made)


async def replay(restrictions: SandboxRestrictions) -> list[str]:
    telemetry.seen.clear()
    runner = SandboxedWorkflowRunner(restrictions=restrictions)
    await Replayer(workflows=[flow.Flow], workflow_runner=runner).replay_workflow(history())
    return telemetry.seen


async def main() -> None:
    default = SandboxRestrictions.default
    use = "its use of clockwork from"
    top, function = await replay(default)
    print(f"passing telemetry through, {use} the top: {top}")
    print(f"passing telemetry through, {use} a function: {function}")
    _, function = await replay(default.with_passthrough_modules("clockwork"))
    print(f"passing clockwork through, too, {use} a function: {function}")


asyncio.run(main())
PY
said=$(cd "$work" && PYTHONPATH=. timeout 60 venv/bin/python look.py)
printf '%s\n' "$said"
[ "$said" = 'passing telemetry through, its use of clockwork from the top: works, the same copy
passing telemetry through, its use of clockwork from a function: RestrictedWorkflowAccessError, a second copy
passing clockwork through, too, its use of clockwork from a function: works, the same copy' ] ||
  { echo 'this has changed' >&2; exit 1; }
