#!/usr/bin/env bash
# APScheduler 3.11.3: shutdown(wait=True), by its docstring, waits until all jobs that are being
# executed have finished, and "does not interrupt any currently running jobs". AsyncIOScheduler's
# does the reverse: it returns before anything has happened, the next turn of the loop cancels
# each job that is a coroutine, and a job in a thread goes on by itself while the program closes
# what it uses. BackgroundScheduler's waits, as it says.
#
# Seen with Python 3.11 and APScheduler 3.11.3:
#
#     AsyncIOScheduler, right after shutdown(wait=True): running is True
#     its job in the loop: cancelled
#     its job in a thread: ended after what it uses was closed
#     BackgroundScheduler, its job in a thread: ended before what it uses was closed
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet apscheduler==3.11.3
cat >"$work/look.py" <<'PY'
import asyncio
import logging
import threading

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.schedulers.background import BackgroundScheduler

logging.disable()
begun = threading.Semaphore(0)
closed = threading.Event()
said: dict[str, str] = {}


async def in_loop() -> None:
    begun.release()
    try:
        await asyncio.sleep(1)
        said["loop"] = "ended"
    except asyncio.CancelledError:
        said["loop"] = "cancelled"
        raise


def in_thread() -> None:
    begun.release()
    closed.wait(1)
    said["thread"] = f"ended {'after' if closed.is_set() else 'before'} what it uses was closed"


async def main() -> None:
    scheduler = AsyncIOScheduler()
    for job in (in_loop, in_thread):
        scheduler.add_job(job)
    scheduler.start()
    for _ in range(2):
        await asyncio.to_thread(begun.acquire)
    scheduler.shutdown(wait=True)
    print(f"AsyncIOScheduler, right after shutdown(wait=True): running is {scheduler.running}")
    await asyncio.sleep(0.1)
    closed.set()


asyncio.run(main())
print(f"its job in the loop: {said['loop']}\nits job in a thread: {said['thread']}")

closed.clear()
scheduler = BackgroundScheduler()
scheduler.add_job(in_thread)
scheduler.start()
begun.acquire()
scheduler.shutdown(wait=True)
closed.set()
print(f"BackgroundScheduler, its job in a thread: {said['thread']}")
PY
said=$("$work/venv/bin/python" "$work/look.py")
printf '%s\n' "$said"
[ "$said" = 'AsyncIOScheduler, right after shutdown(wait=True): running is True
its job in the loop: cancelled
its job in a thread: ended after what it uses was closed
BackgroundScheduler, its job in a thread: ended before what it uses was closed' ] ||
  { echo 'this has changed' >&2; exit 1; }
