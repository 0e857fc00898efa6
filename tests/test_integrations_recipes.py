"""
The programs of docs/recipes run as they stand, and lose nothing when they are told to end.
"""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

from tests.scripted_server import ScriptedServer
from tests.sites import serving

RECIPES = Path(__file__).parents[1] / "docs/recipes"


def block(recipe: str, language: str) -> str:
    """
    Read the one block of a recipe that is in *language*.
    """
    text = (RECIPES / f"{recipe}.md").read_text()
    [found] = re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return str(found)


def command(recipe: str, fd: int) -> list[str]:
    """
    Complete the command of a recipe: where to listen, and to say only what is wrong.
    """
    match block(recipe, "sh").split():
        case ["python", "app.py"]:
            # As run_app does it by default, on a socket that is open already.
            source = "import app, socket; app.web.run_app(app.app, print=None, sock=socket.socket"
            return ["-c", f"{source}(fileno={fd}))"]
        case ["uvicorn", *words]:
            return ["-m", "uvicorn", *words, "--fd", str(fd), "--log-level", "critical"]
        case ["hypercorn", *words]:
            return ["-m", "hypercorn", *words, "--bind", f"fd://{fd}", "--log-level", "critical"]
        case ["gunicorn", *words]:
            return ["-m", "gunicorn", *words, "--bind", f"fd://{fd}", "--log-level", "critical"]
        case words:
            raise AssertionError(words)


@pytest.mark.parametrize(
    ("recipe", "library"),
    [
        ("aiohttp", "aiohttp"),
        ("fastapi", "fastapi"),
        ("gunicorn", "uvicorn_worker"),
        ("litestar", "litestar"),
        ("quart", "quart"),
        ("django", "django"),
    ],
)
async def test_what_was_answered_before_sigterm_is_delivered(
    server: ScriptedServer, tmp_path: Path, recipe: str, library: str
) -> None:
    """
    SIGTERM while a crowd asks costs no event, nor does the app's own end.
    """
    pytest.importorskip(library, reason="needs the extra apps")
    source = block(recipe, "python")
    async with serving(server, tmp_path, source, lambda fd: command(recipe, fd)) as site:
        await site.busy()
        site.program.send(signal.SIGTERM)

    asked = {event["messages"][0]["content"] for event in server.created if event["messages"]}
    assert asked >= site.answered
    assert any(event.get("event_name") == "last words" for event in server.created) == (
        "last words" in source
    )
    assert not server.duplicates()
    assert site.done.stderr == ""
    # uvicorn has the signal take its course once it is done.
    assert site.done.status in (0, -signal.SIGTERM)
