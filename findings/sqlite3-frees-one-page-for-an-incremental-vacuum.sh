#!/usr/bin/env bash
# Python's sqlite3, here under aiosqlite 0.22.1: `PRAGMA incremental_vacuum(100)` gives one page
# back, not 100. SQLite frees a page for each step of the statement, and since the pragma has no
# columns, `execute` takes it for a statement that is done after the first step. No error and no
# warning: a file that is meant to shrink by and by just keeps its size. On Python 3.11 fetching
# all rows changes nothing, on 3.13 it does; `executescript` steps to the end on both.
#
# Seen with Python 3.11.7 and 3.13.0, both with SQLite 3.40.1, of 200 free pages:
#
#     execute: 199 left
#     executescript: 100 left
#
# and by fetching all rows 199 left on 3.11, 100 on 3.13.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet aiosqlite==0.22.1
cat >"$work/look.py" <<'PY'
import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import aiosqlite

VACUUM = "PRAGMA incremental_vacuum(100)"


async def left(vacuum: Callable[[aiosqlite.Connection], Awaitable[Any]], path: str) -> int:
    """
    Count the free pages that *vacuum* leaves in a new database that has 200 of them.
    """
    async with aiosqlite.connect(path, isolation_level=None) as db:
        await db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        await db.execute("CREATE TABLE texts (text BLOB)")
        await db.executemany("INSERT INTO texts VALUES (?)", [(b"x" * 4000,)] * 200)
        await db.execute("DELETE FROM texts")
        assert await free_pages(db) == 200
        await vacuum(db)
        return await free_pages(db)


async def free_pages(db: aiosqlite.Connection) -> int:
    [(pages,)] = await db.execute_fetchall("PRAGMA freelist_count")
    return int(pages)


async def main() -> None:
    print("execute:", await left(lambda db: db.execute(VACUUM), "a.db"), "left")
    print("executescript:", await left(lambda db: db.executescript(VACUUM), "b.db"), "left")


asyncio.run(main())
PY
cd "$work"
seen=$(venv/bin/python look.py)
echo "$seen"
[ "$seen" = 'execute: 199 left
executescript: 100 left' ]
