"""
Feedback on the collector's page: a thumb and a note where an event is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import ClientSession

from hh_exporter._collector import Collector
from tests.collector_client import V1_MANY, V1_ONE, post

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.browser import Browser

pytestmark = pytest.mark.browser

SESSION = "caf77ace-3417-4da4-944d-f4a0688f3c23"
BEGIN = 1_796_037_000_000
ESCAPE, CONTROL, ENTER, BACKSPACE = "\ue00c", "\ue009", "\ue007", "\ue003"
ROW_OF = """
return fetch("/api/events").then((answer) => answer.json()).then(({ events }) =>
  events.find(({ event_id }) => event_id === arguments[0])?.id)
"""
PRESSED = """
return [...document.querySelectorAll('.rate')]
  .map((thumb) => thumb.getAttribute("aria-pressed") === "true")
"""
ARE_PRESSED = f"return JSON.stringify((() => {{ {PRESSED} }})()) === JSON.stringify(arguments[0])"
STORED = """
const text = (said) => JSON.stringify(Object.entries(said ?? {}).sort());
return fetch("/api/events/" + arguments[0]).then((answer) => answer.json())
  .then(({ event }) => text(event.feedback) === text(arguments[1]))
"""
NOTE_IS = "return document.getElementById('note').value === arguments[0]"
STATE_IS = "return document.querySelector('.feedback-state').textContent === arguments[0]"
OTHERS = """
return [...document.querySelectorAll('.feedback .chips li')]
  .map((chip) => [...chip.children].map((e) => e.textContent).join(": "))
"""
HAS_OTHERS = f"return JSON.stringify((() => {{ {OTHERS} }})()) === JSON.stringify(arguments[0])"
SHOWN_AT_ONCE = """
const seen = new Promise((told) => addEventListener("hashchange", () =>
  told(document.querySelector(".feedback").checkVisibility()), { once: true }));
location.hash = arguments[0];
return seen;
"""
ICONS = """
return [...document.querySelectorAll('.tree-row :is(.thumb, .note)')].map((e) => e.ariaLabel)
"""
TOO_WIDE = "return document.documentElement.scrollWidth > innerWidth"
BROKEN = {"faults": {"503": 1.0}}


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with Collector() as collector:
        yield collector


def event(name: str, **more: Any) -> dict[str, Any]:
    """
    Make an event whose id is its name.
    """
    return {
        "event_type": "model",
        "event_name": name,
        "event_id": name,
        "session_id": SESSION,
        "inputs": {},
        "start_time": BEGIN,
        "duration": 1,
        **more,
    }


@pytest.fixture
async def rows(page: Browser, collector: Collector) -> dict[str, int]:
    """
    The rows of two events, "a" and "b", of which "a" is open.
    """
    assert (await post(collector, V1_MANY, {"events": [event("a"), event("b")]}))[0] == 200
    rows = {name: await page.run(ROW_OF, name) for name in ("a", "b")}
    await open_row(page, rows["a"])
    return rows


async def open_row(page: Browser, row_id: int) -> None:
    await page.run("location.hash = arguments[0]", f"event={row_id}")
    await page.find(".feedback")


async def put(collector: Collector, path: str, said: Any) -> None:
    async with ClientSession(collector.url) as client, client.put(path, json=said) as answer:
        assert answer.status == 200


async def test_nothing_is_said_of_an_event_that_is_not_there_yet(
    page: Browser, collector: Collector
) -> None:
    """
    Thumbs and note come with it, so that no word is typed into the void.
    """
    assert (await post(collector, V1_ONE, event("a")))[0] == 200
    row_id = await page.until(ROW_OF, "a")

    assert not await page.run(SHOWN_AT_ONCE, f"event={row_id}")

    await page.find(".feedback")


async def test_a_thumb_is_stored(page: Browser, rows: dict[str, int]) -> None:
    """
    Up is 5 and down is 1; the one replaces the other, and the same once more takes it back.
    """
    await page.click("#rate-up")
    await page.until(STORED, rows["a"], {"rating": 5})
    assert await page.run(PRESSED) == [True, False]

    await page.click("#rate-down")
    await page.until(STORED, rows["a"], {"rating": 1})
    assert await page.run(PRESSED) == [False, True]

    await page.click("#rate-down")
    await page.until(STORED, rows["a"], {"rating": None})
    assert await page.run(PRESSED) == [False, False]
    await page.until(STATE_IS, "")


async def test_all_of_it_is_done_by_keys(page: Browser, rows: dict[str, int]) -> None:
    """
    Plus and minus rate, a goes to the note, Ctrl+Enter saves it, Esc leaves it.
    """
    await page.press("+")
    await page.until(STORED, rows["a"], {"rating": 5})
    await page.press("-")
    await page.until(STORED, rows["a"], {"rating": 1})

    await page.press("a")
    assert await page.run("return document.activeElement.id") == "note"
    await page.press("too + long")
    await page.chord(CONTROL, ENTER)
    await page.until(STORED, rows["a"], {"rating": 1, "note": "too + long"})
    assert await page.run("return document.activeElement.id") == "note"
    await page.press(ESCAPE)

    assert await page.run("return document.activeElement.id") == "detail-content"
    assert await page.text(".detail h2") == "a"


async def test_a_note_is_saved_when_it_is_left(page: Browser, rows: dict[str, int]) -> None:
    """
    And deleted by deleting its text; it may have several lines.
    """
    await page.click("#note")
    await page.press("first", ENTER, "second")
    await page.click(".detail h2")
    await page.until(STORED, rows["a"], {"note": "first\nsecond"})
    assert await page.run("return document.getElementById('note').rows") == 2

    await page.click("#note")
    await page.chord(CONTROL, "a")
    await page.press(BACKSPACE, ESCAPE)

    await page.until(STORED, rows["a"], {"note": None})
    await page.until(NOTE_IS, "")


async def test_another_event_saves_the_note(page: Browser, rows: dict[str, int]) -> None:
    """
    Going to another while the field has the focus, as the browser's back does, loses nothing.
    """
    await page.click("#note")
    await page.press("half a thou")

    await open_row(page, rows["b"])

    await page.until(STORED, rows["a"], {"note": "half a thou"})
    await page.until("return document.querySelector('.detail h2').textContent === 'b'")
    await page.until(NOTE_IS, "")
    await open_row(page, rows["a"])
    await page.until(NOTE_IS, "half a thou")


async def test_what_is_not_saved_stays(
    page: Browser, collector: Collector, rows: dict[str, int]
) -> None:
    """
    The reason is there and the way to try again; other events, and a reload, change nothing.
    """
    await put(collector, "/api/faults", BROKEN)
    await page.click("#note")
    await page.press("kept")
    await page.click("#rate-up")
    reason = "Not saved: a fault that the collector was asked for"
    await page.until(STATE_IS, reason)
    assert await page.run(PRESSED) == [True, False]
    assert await page.text("#save-note") == "Try again"

    await open_row(page, rows["b"])
    await page.until(NOTE_IS, "")
    assert await page.run(PRESSED) == [False, False]
    await open_row(page, rows["a"])
    await page.until(NOTE_IS, "kept")
    await page.reload()
    await page.until(NOTE_IS, "kept")
    assert await page.run(PRESSED) == [True, False]

    await put(collector, "/api/faults", {"faults": {}})
    await page.click("#save-note")
    await page.until(STORED, rows["a"], {"note": "kept", "rating": 5})
    await page.gone("#save-note")
    assert await page.run("return sessionStorage.getItem('hh-drafts') ?? ''") == ""
    assert any("503" in problem for problem in await page.problems())


async def test_a_fault_like_a_missing_key_asks_for_none(
    page: Browser, collector: Collector, rows: dict[str, int]
) -> None:
    """
    401 as a fault is a failure as any other.
    """
    await put(collector, "/api/faults", {"faults": {"401": 1.0}})

    await page.click("#rate-up")

    await page.until(STATE_IS, "Not saved: a fault that the collector was asked for")
    assert not await page.run("return document.querySelector('dialog')")
    assert await page.problems()
    await put(collector, "/api/faults", {"faults": {}})
    await page.click("#save-note")
    await page.until(STORED, rows["a"], {"rating": 5})


async def test_what_others_sent_shows(
    page: Browser, collector: Collector, rows: dict[str, int]
) -> None:
    """
    Any keys and values, as text; it arrives while the event is open.
    """
    await page.find('.status[data-state="live"]')
    said = {
        "rating": 4,
        "helpful": True,
        "comment": "<b>fine</b>",
        "scores": {"tone": 3},
        "note": ["a", "b"],
    }

    await put(collector, "/events", {"event_id": "a", "feedback": said})

    await page.until(
        HAS_OTHERS,
        [
            "rating: 4 of 5",
            "helpful: true",
            "comment: <b>fine</b>",
            'scores: {"tone":3}',
            'note: ["a","b"]',
        ],
    )
    assert await page.run(PRESSED) == [False, False]
    assert rows


async def test_a_note_from_elsewhere_replaces_no_text(
    page: Browser, collector: Collector, rows: dict[str, int]
) -> None:
    """
    What is typed stays, with what another window saved beside it.
    """
    await page.find('.status[data-state="live"]')
    await page.click("#note")
    await page.press("mine")

    await put(collector, "/events", {"event_id": "a", "feedback": {"note": "theirs", "rating": 1}})

    await page.until(HAS_OTHERS, ["saved note: theirs"])
    assert await page.run(PRESSED) == [False, True]
    assert await page.run("return document.activeElement.id") == "note"
    await page.press(" too")
    await page.chord(CONTROL, ENTER)
    await page.until(STORED, rows["a"], {"note": "mine too", "rating": 1})
    await page.until(HAS_OTHERS, [])


async def test_a_session_event_is_rated(page: Browser, collector: Collector) -> None:
    """
    Also the one that stands for the whole session.
    """
    root = event("support chat", event_type="session", event_id=SESSION)
    assert (await post(collector, V1_ONE, root))[0] == 200
    row_id = await page.until(ROW_OF, SESSION)
    await open_row(page, row_id)

    await page.press("-")

    await page.until(STORED, row_id, {"rating": 1})


async def test_a_phone_has_room_for_it(page: Browser, rows: dict[str, int]) -> None:
    """
    At 390 pixels it is all within the screen, in keys that a finger hits.
    """
    await page.resize(390, 844)
    sides = await page.run(
        "return ['#note', '#rate-up'].map((name) =>"
        " document.querySelector(name).getBoundingClientRect().height)"
    )
    assert sides[0] == sides[1]
    await page.click("#note")
    await page.press("word " * 60)

    assert not await page.run(TOO_WIDE)
    boxes = await page.run(
        "return ['.feedback', '#rate-up', '#save-note']"
        ".map((name) => document.querySelector(name).getBoundingClientRect())"
    )
    assert all(box["left"] >= 0 and box["right"] <= 390 for box in boxes)
    assert boxes[0]["bottom"] <= 844
    assert boxes[1]["width"] >= 40
    await page.click(".detail h2")
    await page.until(STORED, rows["a"], {"note": "word " * 60})


async def test_the_tree_shows_it(page: Browser, collector: Collector, rows: dict[str, int]) -> None:
    """
    A thumb, by the number, and that there is a note.
    """
    said = {"rating": 3.5, "note": "slow"}
    await put(collector, "/events", {"event_id": "b", "feedback": said})
    await page.run("location.hash = arguments[0]", f"event={rows['a']}&tab=session")
    await page.find(".tree-row .thumb")
    await page.press("-")

    await page.until("return document.querySelectorAll('.tree-row .thumb').length === 2")
    assert await page.run(ICONS) == ["rated 1", "rated 3.5", "has a note"]
