"""
The rows that the page holds, by themselves: what is where, and that none is lost or twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from hh_exporter._collector import Collector

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.browser import Browser

pytestmark = pytest.mark.browser

MODULE = """
const { Rows, MOST_ROWS } = await import("/page/js/lists/rows.js");
const rows = new Rows();
const row = (id) => ({ id, time: id });
const ids = (from, to) => Array.from({ length: to - from }, (_, n) => row(from + n));
const older = (from, to) => ids(from, to).reverse();
const all = () => Array.from({ length: rows.size }, (_, place) => rows.at(place).id);
const isPlaced = () => all().every((id, place) => rows.placeOf(id) === place);
"""


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with Collector() as collector:
        yield collector


async def run(page: Browser, script: str) -> Any:
    """
    Run a script that has rows, and what makes some, in the page.
    """
    return await page.run(f"return (async () => {{{MODULE}{script}}})()")


async def test_rows_come_at_both_ends_and_into_gaps(page: Browser) -> None:
    """
    What was there, what arrived and what a rush left out stand by id, each once.
    """
    result = await run(
        page,
        """
        rows.addOlder(older(50, 60));
        rows.addNewer(ids(58, 65));
        rows.addNewer(ids(70, 72), 64);
        const gap = { ...rows.gap };
        const filled = [rows.fillGap(older(67, 70), 67), rows.fillGap(older(63, 67), null)];
        rows.addOlder(older(45, 52));
        const [left, none] = [rows.gap, rows.placeOf(44)];
        return { all: all(), isPlaced: isPlaced(), gap, filled, left, none };
        """,
    )

    assert result == {
        "all": list(range(71, 44, -1)),
        "isPlaced": True,
        "gap": {"after": 64, "before": 70},
        "filled": [3, 2],
        "left": None,
        "none": -1,
    }


async def test_a_gap_between_what_was_read_and_what_arrived_is_filled(page: Browser) -> None:
    """
    It is where the two parts of the rows meet.
    """
    result = await run(
        page,
        """
        rows.addOlder(older(1, 4));
        rows.addNewer(ids(8, 9), 3);
        rows.fillGap(older(4, 8), null);
        return [all(), isPlaced()];
        """,
    )

    assert result == [list(range(8, 0, -1)), True]


async def test_a_row_keeps_its_number_while_others_come_and_go(page: Browser) -> None:
    """
    So its element of the document is not made anew.
    """
    result = await run(
        page,
        """
        rows.addOlder(older(1, 10));
        const number = rows.sequenceAt(rows.placeOf(9));
        rows.addNewer(ids(10, 30));
        rows.dropBefore(5);
        return rows.sequenceAt(rows.placeOf(9)) === number;
        """,
    )

    assert result


async def test_the_oldest_go_when_there_are_too_many(page: Browser) -> None:
    """
    However long a list lives, it holds the newest MOST_ROWS; what is older is not added.
    """
    result = await run(
        page,
        """
        rows.addOlder(older(1, 1001));
        const wasCut = rows.isCut;
        for (let at = 1001; at < 3 * MOST_ROWS; at += 1000) rows.addNewer(ids(at, at + 1000));
        const last = rows.newest.id;
        const isWhole = all().every((id, place) => id === last - place);
        const added = rows.addOlder([{ id: 0 }]);
        const isFull = rows.isFull && rows.size === MOST_ROWS && MOST_ROWS >= 100_000;
        return [isFull, isWhole, added, wasCut, rows.isCut];
        """,
    )

    assert result == [True, True, 0, False, True]


async def test_what_a_range_leaves_behind_is_dropped(page: Browser) -> None:
    """
    From the bottom on, across what was read and what arrived, with its gaps.
    """
    result = await run(
        page,
        """
        rows.addOlder(older(1, 10));
        rows.addNewer(ids(20, 30), 9);
        const dropped = [rows.dropBefore(5), rows.dropBefore(5), rows.dropBefore(25)];
        const left = all();
        return [dropped, left, rows.gap, rows.dropBefore(99), rows.size, rows.oldest];
        """,
    )

    assert result == [[4, 0, 10], [29, 28, 27, 26, 25], None, 5, 0, None]


async def test_rows_of_another_order_are_found_by_id(page: Browser) -> None:
    """
    They stay as they were answered, and one that moved meanwhile is not there twice.
    """
    result = await run(
        page,
        """
        rows.clear(true);
        rows.addOlder([{ id: 5 }, { id: 3 }, { id: 9 }]);
        rows.addOlder([{ id: 3 }, { id: 1 }]);
        rows.replace([{ id: 9, name: "new" }, { id: 77 }]);
        return [all(), isPlaced(), rows.placeOf(2), rows.at(2).name];
        """,
    )

    assert result == [[5, 3, 9, 1], True, -1, "new"]
