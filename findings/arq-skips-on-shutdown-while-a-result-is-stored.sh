#!/usr/bin/env bash
# arq 0.28.0: SIGTERM cancels whatever the worker's tasks are waiting for. Where that is the job,
# as the documentation has it, the job is to run again later, and on_shutdown is called. Where it
# is Redis, since the job has ended and its result is being stored, the cancellation leaves
# Worker.close by its asyncio.gather, before on_shutdown: what that hook would close, flush or
# release is not, and the worker ends with a traceback. With short jobs and some load, that is
# every other stop. With job_completion_wait the worker waits for its tasks first.
#
# Seen with Python 3.11, arq 0.28.0, redis 5.3.1 and Redis 7.0, with a job that has the signal
# sent while it runs, or just after it has ended:
#
#     while a job runs: on_shutdown was called, status 0
#     while its result is stored: on_shutdown was not called, status 1
#     the same, with job_completion_wait=5: on_shutdown was called, status 0
#
# Needs redis-server.
set -euo pipefail
command -v redis-server >/dev/null || { echo 'needs redis-server' >&2; exit 1; }
work=$(mktemp -d)
trap 'kill "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
redis-server --port 0 --unixsocket "$work/redis.sock" --dir "$work" --save '' >/dev/null &
server=$!
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet arq==0.28.0 redis==5.3.1
cat >"$work/look.py" <<'PY'
import asyncio
import os
import signal
import sys

from arq import create_pool
from arq.connections import RedisSettings

REDIS = RedisSettings(unix_socket_path="redis.sock")


async def job(_, when: str) -> None:
    tell = os.kill, os.getpid(), signal.SIGTERM
    if when == "while":
        tell[0](*tell[1:])
        await asyncio.sleep(60)
    asyncio.get_running_loop().call_soon(*tell)


async def close(_) -> None:
    print("closed")


class Settings:
    functions = [job]
    on_shutdown = close
    redis_settings = REDIS


class Patient(Settings):
    functions = [job]
    on_shutdown = close
    redis_settings = REDIS
    job_completion_wait = 5


async def enqueue(when: str) -> None:
    queue = await create_pool(REDIS)
    await queue.flushall()
    await queue.enqueue_job("job", when)
    await queue.aclose()


if __name__ == "__main__":
    asyncio.run(enqueue(sys.argv[1]))
PY
cd "$work"
run() {
  venv/bin/python look.py "$1"
  local status=0 said
  said=$(venv/bin/python -m arq "look.$2" 2>err) || status=$?
  printf 'on_shutdown was %scalled, status %d\n' "$([ "$said" = closed ] || printf 'not ')" "$status"
}
during=$(run while Settings)
after=$(run after Settings)
patient=$(run after Patient)
printf 'while a job runs: %s\nwhile its result is stored: %s\n' "$during" "$after"
printf 'the same, with job_completion_wait=5: %s\n' "$patient"
well='on_shutdown was called, status 0'
[ "$during/$after/$patient" = "$well/on_shutdown was not called, status 1/$well" ] ||
  { echo 'this has changed' >&2; exit 1; }
