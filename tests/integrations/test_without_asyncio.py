"""
Programs without asyncio that are told to end in the middle of a load: their recipes lose nothing.
"""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import aiohttp
import pytest

from tests.integrations.test_recipes import asked as asked_in_turn
from tests.integrations.test_recipes import block, rest, write
from tests.loads import MODEL, Load, asked, loaded, noting
from tests.programs import started
from tests.scripted_server import ScriptedServer
from tests.sites import taken

LATE = {"HH_EXPORTER_BATCH_LINGER": "600", "HH_EXPORTER_BATCH_MAX_EVENTS": "10000"}
"""Nothing is sent before an exporter is closed."""

BLOCKING = """
_ask_model = ask_model

def ask_model(messages):
    return asyncio.run(_ask_model(messages))
"""
"""Makes a model one that is not awaited."""


def check(load: Load) -> None:
    """
    Check that all arrived, once, and that there was nothing to say.
    """
    assert load.lost() == Counter()
    assert asked(load.server).keys() >= load.site.answered.keys()
    assert not load.server.duplicates()
    assert (load.site.done.status, load.site.done.stderr) == (0, "")


def gunicorn(recipe: str, *options: str) -> Callable[[int], list[str]]:
    words = ["-m", *block(recipe, "sh").split(), "--log-level", "critical", *options]
    return lambda fd: [*words, "--bind", f"fd://{fd}"]


APPS = {"flask": "flask", "django-wsgi": "django"}
"""The web apps, and what each can't do without."""


@pytest.mark.parametrize("options", [(), ("--threads", "4")], ids=["sync", "gthread"])
@pytest.mark.parametrize(("recipe", "library"), APPS.items())
async def test_what_views_recorded_before_sigterm_is_delivered(
    server: ScriptedServer, tmp_path: Path, recipe: str, library: str, options: tuple[str, ...]
) -> None:
    """
    Each worker that was forked from the loaded app ends its requests, and sends what they recorded.
    """
    pytest.importorskip(library, reason="needs the extra apps")
    source, command = block(recipe, "python"), gunicorn(recipe, *options)
    async with loaded(server, tmp_path, source, command, model=MODEL + BLOCKING, **LATE) as load:
        await load.stop(workers=2)

    check(load)
    assert load.notes.cut_off() == Counter()


async def test_what_a_worker_recorded_before_it_is_replaced_is_delivered(
    server: ScriptedServer, tmp_path: Path
) -> None:
    """
    With `--max-requests`, each worker sends what its views recorded as it makes way for the next.
    """
    pytest.importorskip("flask", reason="needs the extra apps")
    command = gunicorn("flask", "--max-requests", "5")
    source = block("flask", "python")
    async with loaded(server, tmp_path, source, command, model=MODEL + BLOCKING, **LATE) as load:
        await load.stop(workers=4)

    check(load)


async def test_what_the_master_records_as_it_loads_the_app_is_delivered(
    server: ScriptedServer, tmp_path: Path
) -> None:
    """
    It has a thread then, and its workers have their own.
    """
    pytest.importorskip("flask", reason="needs the extra apps")
    push = "exporter.push(ModelEvent(model='m', event_name='loaded'))"
    source = f"from hh_exporter import ModelEvent\n{block('flask', 'python')}\n{push}\n"
    command = gunicorn("flask")
    async with loaded(server, tmp_path, source, command, model=MODEL + BLOCKING, **LATE) as load:
        await load.stop(workers=2)

    check(load)
    names = [event["event_name"] for event in server.created if not event["messages"]]
    assert names == ["loaded"]


async def test_an_async_view_under_wsgi_loses_nothing(
    server: ScriptedServer, tmp_path: Path
) -> None:
    """
    Django runs each async view in a loop that ends with it; the exporter's is another.
    """
    pytest.importorskip("django", reason="needs the extra apps")
    source = block("django-wsgi", "python")
    for before, after in (("def ask(", "async def ask("), ("= ask_model(", "= await ask_model(")):
        assert source.count(before) == 1
        source = source.replace(before, after)
    command = gunicorn("django-wsgi")
    async with loaded(server, tmp_path, source, command, model=MODEL, **LATE) as load:
        await load.stop(workers=2)

    check(load)


@pytest.mark.parametrize(
    ("number", "status", "error"),
    [
        (signal.SIGTERM, 143, "SystemExit: 143"),
        (signal.SIGINT, -signal.SIGINT, "KeyboardInterrupt"),
    ],
)
async def test_a_plain_script_sends_what_it_recorded_when_it_is_told_to_end(
    server: ScriptedServer, tmp_path: Path, number: signal.Signals, status: int, error: str
) -> None:
    """
    The call under way is recorded, too, with the exception that ends it.
    """
    environ = write(tmp_path, "plain-script") | LATE | {"HH_API_URL": server.url}
    (tmp_path / "my_model.py").write_text(MODEL + BLOCKING)
    with noting(tmp_path) as notes:
        environ |= notes.environ
        with started("-m", "app", environ=environ) as program:
            await notes.busy()
            program.send(number)
            await rest(program)
            done = await program.ended()

    begun = notes.questions("begun")
    assert begun <= asked(server)
    assert (asked(server) - begun).total() <= 1  # which was cut off before its model began
    assert not server.duplicates()
    errors = [event["error"] for event in server.created if event.get("error")]
    is_between = not errors and all(event.get("response") for event in server.created)
    assert errors == [error] or is_between  # no call was under way just then
    assert done.status == status


async def test_a_plain_script_sends_everything_at_its_end(
    server: ScriptedServer, tmp_path: Path
) -> None:
    """
    It ends by itself, with nothing left and nothing to say.
    """
    environ = write(tmp_path, "plain-script") | LATE | {"HH_API_URL": server.url}
    (tmp_path / "my_model.py").write_text("def ask_model(messages):\n    return messages[0]\n")
    with started("-m", "app", environ=environ) as program:
        count = len(await rest(program))
        done = await program.ended()

    assert asked_in_turn(server) == [f"question {n}" for n in range(1, count + 1)]
    assert (done.status, done.stderr) == (0, "")


async def visit(url: str, questions: Sequence[str]) -> None:
    """
    Ask the app of the Streamlit recipe one question after the other, as its page does.
    """
    from streamlit.proto.BackMsg_pb2 import BackMsg
    from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

    left, field, text = list(questions), "", ""
    async with aiohttp.ClientSession() as session, session.ws_connect(url, max_msg_size=0) as page:
        run = BackMsg()
        run.rerun_script.query_string = ""
        await page.send_bytes(run.SerializeToString())
        async for message in page:
            said = ForwardMsg.FromString(message.data)
            element = said.delta.new_element
            if element.HasField("text_input"):
                field = element.text_input.id
            if element.HasField("markdown"):
                text = element.markdown.body
            if said.HasField("script_finished"):
                assert text == ("" if len(left) == len(questions) else "an answer")
                if not left:
                    return
                run = BackMsg()
                run.rerun_script.query_string = ""
                widget = run.rerun_script.widget_states.widgets.add()
                widget.id, widget.string_value = field, left.pop(0)
                await page.send_bytes(run.SerializeToString())


async def test_what_visitors_of_streamlit_had_recorded_is_delivered(
    server: ScriptedServer, tmp_path: Path
) -> None:
    """
    All of them share one exporter, which the end of the server closes.
    """
    pytest.importorskip("streamlit", reason="needs the extra apps")
    environ = write(tmp_path, "streamlit") | LATE | {"HH_API_URL": server.url}
    (tmp_path / "my_model.py").write_text(MODEL + BLOCKING)
    options = "--server.headless true --server.address 127.0.0.1 --browser.gatherUsageStats false"
    with taken(is_open=False) as listener, noting(tmp_path) as notes:
        port = listener.getsockname()[1]
        words = [*block("streamlit", "sh").split(), *options.split(), "--server.port", str(port)]
        words[2] = str(tmp_path / words[2])
        with started("-m", *words, environ=environ | notes.environ) as program:
            while "You can now view" not in await program.line():
                pass
            url = f"ws://127.0.0.1:{port}/_stcore/stream"
            await asyncio.gather(*(visit(url, [f"question {n} {m}" for m in "12"]) for n in "ab"))
            assert asked(server) == Counter()
            program.send(signal.SIGTERM)
            await rest(program)
            done = await program.ended()

    assert asked(server) == notes.pushed()
    assert asked(server).total() == 4
    assert done.status == 0
    assert "hh_exporter" not in done.stderr
