"""
How the text of a filter is split into terms.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hh_exporter._collector.query.language import MAX_TERMS, QueryError, Term, read_terms

FILTERS: list[tuple[str, list[tuple[str, str]]]] = [
    ("", []),
    ("  two words\t", [("", "two"), ("", "words")]),
    ("model:gpt-4o latency>=2s", [("model:", "gpt-4o"), ("latency>=", "2s")]),
    ("a=1 a>1 a<1 a<=1", [("a:", "1"), ("a>", "1"), ("a<", "1"), ("a<=", "1")]),
    ('session:"support chat"x', [("session:", "support chat"), ("", "x")]),
    (r'"say \"hi\" in C:\\new\x"', [("", 'say "hi" in C:\\newx')]),
    ("a:b:c=d a:>=2", [("a:", "b:c=d"), ("a:", ">=2")]),
    ('say"hi there"', [("", 'say"hi'), ("", 'there"')]),
    ("metadata.tenant-id.0:a", [("metadata/tenant-id/0:", "a")]),
    (r'metadata."a.b \"c\"".é>2', [('metadata/a.b "c"/é>', "2")]),
    (
        "10:31 =x : 2024-01-01T10:31",
        [("", "10:31"), ("", "=x"), ("", ":"), ("", "2024-01-01T10:31")],
    ),
    ("http://a:80/?q=1 model://x", [("", "http://a:80/?q=1"), ("", "model://x")]),
    ("url:http://a", [("url:", "http://a")]),
    ("model: x", [("model:", ""), ("", "x")]),
    ("a..b:c a.:c .a:c", [("", "a..b:c"), ("", "a.:c"), ("", ".a:c")]),
    ('""', [("", "")]),
]


@pytest.mark.parametrize(("text", "expected"), FILTERS)
def test_a_filter_is_split_into_terms(text: str, expected: list[tuple[str, str]]) -> None:
    """
    Keys, operators and values are told apart, and quotes are taken off.
    """
    found = [("/".join(term.key) + term.operator, term.value) for term in read_terms(text)]

    assert found == expected


@pytest.mark.parametrize(
    ("text", "value", "is_negated"),
    [
        ("-x", "x", True),
        ("-a:x", "x", True),
        ('-"a b"', "a b", True),
        ("--x", "-x", True),
        ("-", "-", False),
        ("- x", "-", False),
        ("a:-x", "-x", False),
        ('"-x"', "-x", False),
    ],
)
def test_a_term_is_negated_by_a_dash_before_it(text: str, value: str, is_negated: bool) -> None:
    """
    It is not, if nothing follows; a dash within it is as any other character.
    """
    term = read_terms(text)[0]

    assert (term.value, term.is_negated) == (value, is_negated)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('a "b', 'character 3: the quote must be closed: add ", or put a \\ before a quote'),
        ('name:"b\\"', "character 6: the quote must be closed"),
        ("x\ud800", "character 2: must be a whole character"),
        (
            "x " * MAX_TERMS + "y",
            f"character {2 * MAX_TERMS + 1}: must have at most {MAX_TERMS} terms",
        ),
    ],
)
def test_a_filter_that_is_none_is_refused(text: str, problem: str) -> None:
    """
    The message says where, and what must be there.
    """
    with pytest.raises(QueryError) as caught:
        read_terms(text)

    assert str(caught.value).startswith(problem)


WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@st.composite
def terms(draw: st.DrawFn) -> tuple[str, tuple[str, ...], str, bool]:
    """
    Write a term with anything in quotes; return it, and its parts.
    """

    def quoted(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    is_negated = draw(st.booleans())
    value = draw(WORDS)
    parts = draw(st.lists(WORDS, max_size=3))
    key = ".".join(["metadata", *map(quoted, parts)])
    text = f"{'-' * is_negated}{key}{draw(st.sampled_from([':', '>=']))}{quoted(value)}"
    return text, ("metadata", *parts), value, is_negated


@given(st.lists(terms(), max_size=5), st.sampled_from([" ", "\n\t ", "\u3000"]))
def test_anything_can_be_quoted(
    written: list[tuple[str, tuple[str, ...], str, bool]], space: str
) -> None:
    """
    What is written in quotes is read as it was, as a value and as a part of a path.
    """
    found = read_terms(space.join(text for text, *_ in written))

    assert [(term.key, term.value, term.is_negated) for term in found] == [
        tuple(parts) for _, *parts in written
    ]


@given(st.text(st.sampled_from('ab.:=<>-*"\\ é\0\ud800')) | st.text())
def test_any_text_is_split_or_refused(text: str) -> None:
    """
    Nothing else is raised, and each term knows where it begins.
    """
    try:
        found: tuple[Term, ...] = read_terms(text)
    except QueryError as exc:
        assert str(exc).startswith("character ")  # noqa: PT017 - either is right
    else:
        starts = [term.at for term in found]
        assert starts == sorted(set(starts))
        assert all(not text[at].isspace() for at in starts)
