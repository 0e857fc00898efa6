"""
How the page splits and edits the text of a filter, and what it completes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from hh_exporter._collector import Collector

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.browser import Browser

pytestmark = pytest.mark.browser

CALL = (
    "const [module, name, ...rest] = arguments;"
    "return import(`/page/js/${module}.js`).then((found) => found[name](...rest))"
)


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with Collector() as collector:
        yield collector


async def call(page: Browser, name: str, *arguments: object) -> Any:
    return await page.run(CALL, "query", name, *arguments)


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("", []),
        ("  two words ", [("", "", "two"), ("", "", "words")]),
        ("model:gpt-4o latency>=2s", [("model", ":", "gpt-4o"), ("latency", ">=", "2s")]),
        ('session:"support chat" x', [("session", ":", "support chat"), ("", "", "x")]),
        (r'"say \"hi\" or C:\\new"', [("", "", r'say "hi" or C:\new')]),
        ("metadata.tenant-id=a:b", [("metadata.tenant-id", "=", "a:b")]),
        ('name:"half open', [("name", ":", "half open")]),
        ("10:31 =x :", [("", "", "10:31"), ("", "", "=x"), ("", "", ":")]),
    ],
)
async def test_a_filter_is_split_into_terms(
    page: Browser, text: str, terms: list[tuple[str, str, str]]
) -> None:
    """
    Keys, operators and values are told apart, and quotes are taken off.
    """
    found = await call(page, "termsOf", text)

    assert [(term["key"], term["operator"], term["value"]) for term in found] == terms


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('Parcel "not here" model:gpt -lost -"no way" error', ["Parcel", "not here"]),
        ('"error" -error', ["error"]),
        ('- ""', ["-"]),
    ],
)
async def test_words_are_what_is_searched(page: Browser, text: str, words: list[str]) -> None:
    """
    Only words and phrases that an event's text must have are among them.
    """
    assert await call(page, "wordsOf", text) == words


@pytest.mark.parametrize(
    ("text", "value", "edited"),
    [
        ("", "gpt-4o", "model:gpt-4o"),
        ("late model:a -model:b", "c", "late model:c -model:b"),
        ("model=a x model:b", "c", "model:c x"),
        ("x model:a", "", "x"),
        ("x", "two words", 'x model:"two words"'),
        ("", 'a "b" \\', r'model:"a \"b\" \\"'),
        ("", "gpt*", 'model:"gpt*"'),
    ],
)
async def test_the_term_of_a_key_is_replaced(
    page: Browser, text: str, value: str, edited: str
) -> None:
    """
    There is one such term then, with the value quoted where it must be; no other is touched.
    """
    assert await call(page, "withValue", text, "model", value) == edited
    assert await call(page, "valueOf", edited, "model") == value


@pytest.mark.parametrize(
    ("text", "failure", "edited"),
    [
        ("x", "yes", "x error"),
        ("error x", "no", "-error x"),
        ("-error x error", "", "x"),
        ('"error" error:timeout', "yes", '"error" error:timeout error'),
    ],
)
async def test_errors_are_a_word(page: Browser, text: str, failure: str, edited: str) -> None:
    """
    The bare word asks for failed calls, and neither its phrase nor its key does.
    """
    assert await call(page, "withFailure", text, failure) == edited
    assert await call(page, "failureOf", edited) == failure


@pytest.mark.parametrize(
    ("text", "is_unfinished"),
    [
        ("model:", True),
        ("latency>=", True),
        ('name:"support', True),
        ("model:a", False),
        ("model: ", False),
        ("word", False),
        ("", False),
    ],
)
async def test_a_term_is_unfinished_while_it_is_typed(
    page: Browser, text: str, is_unfinished: bool
) -> None:
    """
    Without a value, or with an open quote, it is not one to be applied yet.
    """
    assert await call(page, "isUnfinished", text) is is_unfinished
