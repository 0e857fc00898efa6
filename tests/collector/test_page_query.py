"""
How the page splits and edits the text of a filter, and what it completes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from hh_exporter._collector import Collector
from hh_exporter._collector.query.keys import KEYS, ROOTS

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
    return await page.run(CALL, "ask/query", name, *arguments)


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
        ("https://example.org/a:b", [("", "", "https://example.org/a:b")]),
        ('metadata."user name".a=b', [('metadata."user name".a', "=", "b")]),
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
        ('parc* *el* "a*" **', ["parc", "el", "a*"]),
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
        ("-", True),
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


async def test_each_key_is_offered(page: Browser) -> None:
    """
    The page completes the keys that the collector knows, and no others.
    """
    offered = await page.run(
        "return import('/page/js/ask/completions.js')"
        ".then(({ completionsOf }) => completionsOf('', 0, {}).map(({ insert }) => insert.trim()))"
    )

    assert {key.rstrip(":<>.") for key in offered} == {*KEYS, *ROOTS}


@pytest.mark.parametrize(
    ("text", "caret", "completed"),
    [
        ("mod", 3, ["model:"]),
        ("-mod", 4, ["-model:"]),
        ("model:GPT", 9, ["model:gpt-4o "]),
        ("x -model:o x", 10, ["-model:gpt-4o "]),
        ('name:"tw', 8, ['name:"two words" ']),
        ("wor", 3, ['name:"two words" ']),
        ("latency>", 8, ["latency>500ms ", "latency>2s ", "latency>1m "]),
        ("model:gpt-4o", 12, []),
        ('"mod', 4, []),
        ("nothing", 7, []),
    ],
)
async def test_what_is_typed_is_completed(
    page: Browser, text: str, caret: int, completed: list[str]
) -> None:
    """
    Keys by their beginning, values of a key by any part, and values of all keys beside them.
    """
    facets = {
        "models": [{"value": "gpt-4o", "count": 2}],
        "names": [{"value": "two words", "count": 1}],
    }
    script = (
        "const given = arguments; return import('/page/js/ask/completions.js')"
        ".then(({ completionsOf }) => completionsOf(...given).map(({ insert }) => insert))"
    )

    found = await page.run(script, text, caret, facets)

    assert found[: len(completed) or None] == completed
