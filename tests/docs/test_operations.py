"""
docs/operations.md knows each line of log, each reason and each hint, and none that is gone.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import hh_exporter
from hh_exporter import DropReason
from hh_exporter._delivery.settler import _ADVICE
from hh_exporter._dialects.answers import read_answer
from hh_exporter._dialects.dialect import Answer
from hh_exporter._life.leftovers import _CUT_SHORT, _ENDED, _LATE
from hh_exporter._spool.room import Room
from hh_exporter._spool.spooler import _NO_ROOM
from hh_exporter._spool.writer import _GONE, _MADE_ROOM, _UNWRITTEN

PACKAGE = Path(hh_exporter.__file__).parent
PAGE = (PACKAGE.parent / "docs/operations.md").read_text()
LEVELS = {
    "warning": "warning",
    "error": "error",
    "error_once": "error",
    "exception": "error",
}
SPEAKER = "hh_exporter: "
"""What each line begins with, for those who see it on a bare stderr."""
COMPOSED = {
    "… events dropped (…): …",
    "… events rejected: …",
    f"… dead letters {_MADE_ROOM}",
    f"… dead letters {_NO_ROOM}",
    f"… dead letters {_GONE}",
    f"… dead letters {_UNWRITTEN}",
}
"""What the settler makes of its parts."""


def logged(source: str) -> set[tuple[str, str]]:
    """
    List the level and the fixed text of what a module logs at a warning or worse.
    """
    found = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(ast.Attribute(ast.Name("log"), level), [first, *_]) if level in LEVELS:
                text = re.sub(r"%[.\d]*[a-z]", "…", ast.literal_eval(first)).split("\n")[0]
                assert text.startswith(SPEAKER), text
                found.add((LEVELS[level], text.removeprefix(SPEAKER)))
    return {(level, text) for level, text in found if text.strip("… ")}


def said_of_room() -> set[str]:
    """
    Have a spool say all that it has to say of its room.
    """
    said = set()
    for is_closing in (False, True):
        room = Room(max_bytes=100)
        room.waiting = 90
        room.miss(0.0)
        said.add(room.tell())
        if not is_closing:
            room.waiting = 0
        said.add(room.tell(is_closing=is_closing))
    return {text.replace("1 event", "… events") for text in said}


def of_the_code() -> dict[str, str]:
    sources = [path.read_text() for path in PACKAGE.rglob("*.py")]
    found = {text: level for source in sources for level, text in logged(source)}
    return found | dict.fromkeys(COMPOSED | said_of_room(), "warning")


def test_each_line_of_log_is_explained() -> None:
    """
    The page has each at its level, and none that is said no more.
    """
    explained = {
        text: level
        for texts, level in re.findall(r"^(\*\*`.*`\*\*) \((\w+)\)$", PAGE, re.MULTILINE)
        for text in re.findall(r"\*\*`(.*?)`\*\*", texts)
    }

    assert explained == of_the_code()
    assert len(explained) > 25


def test_each_reason_is_explained() -> None:
    """
    The page has each reason to drop, with the words that the log adds.
    """
    rows = re.findall(r"^\| (`[^|]*`) \| (.*?) \|", PAGE.split("## Losses")[1], re.MULTILINE)
    reasons = {name for names, _ in rows for name in re.findall(r"`(\w+)`", names)}

    assert reasons == {str(reason) for reason in DropReason}
    for reason, advice in _ADVICE.items():
        assert (f"`{reason}`", f"`{advice}`") in rows
    for detail in (_CUT_SHORT, _ENDED, _LATE):
        assert ("`closed`", f"`{detail}`") in rows


@pytest.mark.parametrize("status", [200, 301, 401, 403, 404, 405, 410, 402, 409, 451])
def test_each_hint_is_explained(status: int) -> None:
    """
    What the log says to check is in the row of the answer.
    """
    answer = Answer(status=status, content_type="text/html")
    named = {
        200: "a web page",
        301: "a redirect",
        402: "other 4xx",
        409: "other 4xx",
        451: "other 4xx",
    }
    hint = read_answer(answer, ("a",)).hint

    [row] = [row for row in PAGE.splitlines() if row.endswith(f"| `{hint}` |")]
    assert hint
    assert named.get(status, str(status)) in row


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("log.warning('hh_exporter: a %s and %.1f')", {("warning", "a … and …")}),
        ("log.error('hh_exporter: a %d:\\n%s', 1, trace)", {("error", "a …:")}),
        ("log.exception('hh_exporter: a')", {("error", "a")}),
        ("log.error_once('hh_exporter: a')", {("error", "a")}),
        ("log.warning('hh_exporter: %s %s', a, b)", set()),
        ("log.debug('a')", set()),
    ],
)
def test_a_line_of_log_is_found(source: str, found: set[tuple[str, str]]) -> None:
    """
    Whatever is logged at a warning or worse is seen, without what varies.
    """
    assert logged(source) == found
