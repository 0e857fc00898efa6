"""
As much of a Temporal server as a worker needs that is asked for one activity after the other.

A program: it prints where it listens. It has no workflows to run.
"""

from __future__ import annotations

import asyncio
from itertools import count
from typing import Any

import grpc
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.workflowservice import v1

DAY = 86_400

numbers = count()


async def ask(*_: Any) -> v1.PollActivityTaskQueueResponse:
    """
    Have the next question answered by the activity `ask`.
    """
    number = next(numbers)
    question = Payload(metadata={"encoding": b"json/plain"}, data=b'"question %d"' % number)
    task = v1.PollActivityTaskQueueResponse(
        task_token=b"%d" % number,
        activity_id=str(number),
        workflow_namespace="default",
        input=Payloads(payloads=[question]),
        attempt=1,
    )
    task.activity_type.name = "ask"
    task.workflow_type.name = "Ask"
    task.workflow_execution.workflow_id = task.workflow_execution.run_id = str(number)
    for moment in (task.scheduled_time, task.started_time, task.current_attempt_scheduled_time):
        moment.GetCurrentTime()
    for timeout in (task.schedule_to_close_timeout, task.start_to_close_timeout):
        timeout.seconds = DAY
    return task


async def wait(*_: Any) -> v1.PollWorkflowTaskQueueResponse:
    await asyncio.sleep(DAY)
    return v1.PollWorkflowTaskQueueResponse()


def handler(name: str) -> grpc.RpcMethodHandler:
    async def answer(*_: Any) -> Any:
        return getattr(v1, f"{name}Response")()

    answers = {"PollActivityTaskQueue": ask, "PollWorkflowTaskQueue": wait}
    return grpc.unary_unary_rpc_method_handler(
        answers.get(name, answer),
        request_deserializer=getattr(v1, f"{name}Request").FromString,
        response_serializer=lambda response: response.SerializeToString(),
    )


async def main() -> None:
    server = grpc.aio.server()
    names = (
        "GetSystemInfo",
        "DescribeNamespace",
        "PollActivityTaskQueue",
        "PollWorkflowTaskQueue",
        "RespondActivityTaskCompleted",
        "RespondActivityTaskCanceled",
        "RespondActivityTaskFailed",
    )
    service = "temporal.api.workflowservice.v1.WorkflowService"
    server.add_registered_method_handlers(service, {name: handler(name) for name in names})
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


asyncio.run(main())
