"""
Several exporters in one program: whatever becomes of one, the others end as they would alone.
"""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from tests.life.test_endings import ADVICE
from tests.programs import run_program
from tests.scripted_server import ScriptedServer, hang

FIVE = """
import time
from hh_exporter import Spool

class Odd(BaseException):
    pass

def raising(exc):
    def on_outcome(settlement):
        raise exc
    return on_outcome

def make(**arguments):
    return Exporter(batch=BatchLimits(linger=600.0), **arguments)

async def start(*exporters):
    for exporter in exporters:
        await exporter.start()
        for number in range(10):
            name = f"{'good' if exporter in good else 'bad'} {exporters.index(exporter)} {number}"
            assert exporter.push(ModelEvent(model="m", event_id=name))

def in_thread(*exporters):
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    asyncio.run_coroutine_threadsafe(start(*exporters), loop).result()
    return loop

RAISED = (Odd, SystemExit, KeyboardInterrupt)

good = [make() for _ in range(4)]
"""
"""Four exporters that end well; others come between them."""

BAD = {
    "its callback raises": "bad = [make(on_outcome=raising(exc())) for exc in RAISED]",
    "its server never answers": 'bad = [make(base_url=os.environ["SILENT"], close_timeout=0.3)]',
    "its disk is dead": """
        import sqlite3
        connect = sqlite3.connect
        is_dead = threading.Event()

        class Dead(sqlite3.Connection):
            def execute(self, *arguments):
                if is_dead.is_set():
                    threading.Event().wait()
                return super().execute(*arguments)

        sqlite3.connect = lambda *a, **named: connect(*a, **{"factory": Dead} | named)
        spool = Spool(os.environ["SPOOL"])
        bad = [make(base_url=os.environ["SILENT"], close_timeout=0.3, spool=spool)]
    """,
}

WHERE = {
    "in a loop that was stopped": """
        loop = asyncio.new_event_loop()
        loop.run_until_complete(start(*good[:2], *bad, *good[2:]))
    """,
    "in the loop of a thread": "in_thread(*good[:2], *bad, *good[2:])",
    "each in a loop of its own": """
        for each in (*good[:2], *bad, *good[2:]):
            in_thread(each)
    """,
}


async def end(server: ScriptedServer, directory: Path, source: str) -> str:
    """
    Run *source* to its end, where the four lose nothing; returns what was said.
    """
    async with ScriptedServer() as silent:
        silent.default = hang()
        environ = {"SILENT": silent.url, "SPOOL": f"{directory}/spool"}
        done = await run_program(FIVE + source, server.url, **environ)
    assert done.status == 0, done.stderr
    created = [name for name in server.created_ids if name.startswith("good")]
    assert len(created) == 40, done.stderr
    return done.stderr


@pytest.mark.parametrize("where", WHERE.values(), ids=list(WHERE))
@pytest.mark.parametrize("bad", BAD.values(), ids=list(BAD))
async def test_one_exporter_that_ends_badly_costs_the_others_nothing(
    server: ScriptedServer, tmp_path: Path, bad: str, where: str
) -> None:
    """
    Four deliver all that they have as the interpreter exits, beside one whose end raises or hangs.
    """
    dies = "is_dead.set()" if "is_dead" in bad else ""
    source = "\n".join([dedent(bad), dedent(where), dies])

    said = await end(server, tmp_path, source)

    if "dead" in bad:
        assert "still writing: its disk is slow" in said
    elif "SILENT" in bad:
        assert "hh_exporter: 10 events dropped (closed): http://127.0.0.1" in said
    else:
        assert "dropped" not in said


async def test_a_loop_that_does_not_answer_costs_the_others_nothing(
    server: ScriptedServer, tmp_path: Path
) -> None:
    """
    Where a thread blocks its loop for good, its exporter alone is given up, once its time is over.
    """
    source = dedent("""
        bad = make(close_timeout=0.3)
        in_thread(*good[:2])
        in_thread(bad).call_soon_threadsafe(threading.Event().wait)
        in_thread(*good[2:])
    """)

    said = await end(server, tmp_path, source)

    assert said == f"hh_exporter: 10 events dropped (closed): {ADVICE}\n"


async def test_a_loop_that_can_not_be_asked_costs_the_others_nothing(
    server: ScriptedServer, tmp_path: Path
) -> None:
    """
    A loop of a library that is gone by then may raise whatever it is asked.
    """
    source = dedent("""
        class Gone(asyncio.SelectorEventLoop):
            is_gone = False
            def is_running(self):
                if self.is_gone:
                    raise RuntimeError("wrapped C++ object has been deleted")
                return super().is_running()
        bad = make()
        in_thread(*good[:2])
        loop = Gone()
        loop.run_until_complete(start(bad))
        in_thread(*good[2:])
        Gone.is_gone = True
    """)

    said = await end(server, tmp_path, source)

    assert [line for line in said.splitlines() if line.startswith("hh_exporter: ")] == [
        "hh_exporter: the end of an exporter failed with RuntimeError",
        f"hh_exporter: 10 events dropped (closed): {ADVICE}",
    ]


async def test_a_callback_that_raises_at_the_end_costs_the_others_nothing(
    server: ScriptedServer, tmp_path: Path
) -> None:
    """
    Where nothing can be sent any more, the others still spool what they have.
    """
    environ = {"HH_EXPORTER_SPOOL_DIRECTORY": f"{tmp_path}/spool"}
    five = FIVE.replace("make() for", "make(spool=Spool(os.environ['SPOOL'])) for")
    source = dedent("""
        bad = [make(on_outcome=raising(exc()), spool=None) for exc in RAISED for _ in range(2)]
        for number, each in enumerate((*good, *bad)):
            assert each.push(ModelEvent(model="m", event_id=f"good {number}"))
        import ctypes
        for each in (good, bad):  # else they are collected in the end, and see to themselves
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(each))
    """)
    drain = """
        async def main():
            await exporter.start()
            await exporter.flush()
            say(exporter.stats().delivered, exporter.stats().recovered)
        asyncio.run(main())
    """

    done = await run_program(five + source, server.url, SPOOL=f"{tmp_path}/spool")
    again = await run_program(drain, server.url, **environ)

    assert (done.status, again.stdout) == (0, "4 4\n")
    assert done.stderr.count(f"hh_exporter: 1 event dropped (closed): {ADVICE}") == 6
    assert sorted(server.created_ids) == [f"good {number}" for number in range(4)], again.stderr
