"""
With a durable spool, `kill -9` loses nothing that put acknowledged, and no update that is on disk.

Real processes, real time: each round a process takes over what the one before
left, sends and writes, and is killed at a moment of chance.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from random import Random

import pytest

from hh_exporter import Exporter, Spool
from hh_exporter._spool.place import list_files
from tests.conftest import KEY
from tests.scripted_server import (
    ScriptedServer,
    created,
    partly,
    reset_after_storing,
    unavailable,
)
from tests.support import PATIENCE

MOST_ACKNOWLEDGED = 30
"""Events after which a process is killed at the latest: fewer than wait in an outage."""
WRITERS = 5

PROGRAM = """
import asyncio, sys
from time import monotonic
from hh_exporter import (
    BatchLimits, Event, Exporter, ModelEvent, QueueLimits, RetryPolicy, Spool
)
from hh_exporter._spool import packer

packer._BACKLOG = 5000  # so that some events are packed

async def write(exporter, name):
    number = 0
    while True:
        event_id = f"{name}-{number}"
        event = ModelEvent(model="m", event_id=event_id, error="x" * 3000)
        if number % 2:
            event = Event(event_type="tool", event_id=event_id, error="x" * 3000)
        if await exporter.put(event):
            print(event_id, flush=True)
        exporter.update(event_id, outputs={"of": event_id})
        updated_at = monotonic()
        while monotonic() - exporter.stats().commit_lag <= updated_at:  # it is not on disk
            await asyncio.sleep(0.005)
        print(f"update:{event_id}", flush=True)
        number += 1

async def main(url, directory, name, writers):
    exporter = Exporter(
        "hh_test_key", base_url=url, spool=Spool(directory, durable=True),
        queue=QueueLimits(max_events=50), batch=BatchLimits(max_events=7, linger=0.01),
        retry=RetryPolicy(base=0.01, max_delay=0.05),
    )
    async with exporter, asyncio.TaskGroup() as writing:
        for number in range(int(writers)):
            writing.create_task(write(exporter, f"{name}-{number}"))

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize(
    "rounds", [4, pytest.param(200, marks=(pytest.mark.soak, pytest.mark.timeout(0)))]
)
async def test_what_put_acknowledged_survives_kill_9(
    server: ScriptedServer, tmp_path: Path, rounds: int
) -> None:
    """
    Each event that a killed process acknowledged is at the server in the end, of either route.

    Updates have no put: they are acknowledged once nothing waits for the disk that is as old.
    """
    random = Random(rounds)
    directory = tmp_path / "spool"
    acknowledged: set[str] = set()
    for number in range(rounds):
        server.default = random.choice(
            [created(), unavailable(), partly(lambda _: random.random() < 0.3, errors=False)]
        )
        if random.random() < 0.5:
            server.script(reset_after_storing())
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", PROGRAM, server.url, str(directory)),
            *(f"p{number}", str(WRITERS)),
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            for _ in range(random.randint(0, MOST_ACKNOWLEDGED)):
                acknowledged.add((await process.stdout.readline()).decode().strip())
        process.send_signal(signal.SIGKILL)
        rest = await process.stdout.read()
        # A line that was cut off was not said; all others were.
        acknowledged.update(rest.decode().rpartition("\n")[0].split())
        await process.wait()

    server.failures.clear()  # requests that were cut off
    server.default = created()
    async with Exporter(KEY, base_url=server.url, spool=Spool(directory)) as exporter:
        result = await exporter.flush()
        assert not result.left
        assert not exporter.stats().dropped

    acknowledged.discard("")
    updates = {f"update:{update['event_id']}" for update in server.updated}
    assert acknowledged <= {*server.created_ids, *updates}
    assert updates & acknowledged
    assert len(acknowledged) > rounds * WRITERS
    assert not list_files(directory)
