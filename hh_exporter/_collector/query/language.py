r"""
The grammar of the filter language.

    filter   = [ term { space term } ]                    all terms must hold
    term     = [ "-" ] ( key operator value | value )     "-": it must not hold
    key      = name { "." ( name | quoted ) }             such as metadata."user name"
    operator = ":" | "=" | ">" | ">=" | "<" | "<="        "=" is the same as ":"
    value    = quoted | word
    quoted   = '"' characters '"'                         \ before each " and \ in it
    word     = characters other than spaces

A value ends at the closing quote, or else at a space. In a word that is a key's value, `*`
stands for any characters. What has no key is plain text; so are a URL and a time such as
10:31, which only look as if they had one.

The keys and their meaning are in `keys`. Parsing takes linear time.
"""

from __future__ import annotations

import re
from typing import Final

from attrs import field, frozen

__all__ = ["MAX_TERMS", "QueryError", "Term", "read_terms"]

MAX_TERMS: Final = 16
"""Each is looked for in each event."""

_QUOTED: Final = r'"((?:[^"\\]|\\.)*+)"'
_PART: Final = rf"\.(?:{_QUOTED}|([^\s\".:=<>]+))"
_PARTS: Final = re.compile(_PART, re.DOTALL)
_KEY: Final = re.compile(
    rf"(?P<name>[A-Za-z_][A-Za-z0-9_-]*)(?P<parts>(?:{_PART})*+)(?P<operator>>=|<=|[:=<>])",
    re.DOTALL,
)
_QUOTED_VALUE: Final = re.compile(_QUOTED, re.DOTALL)
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
_WORD: Final = re.compile(r"\S+")
_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_HALF: Final = re.compile("[\ud800-\udfff]")


class QueryError(ValueError):
    """
    A filter that is none; says at which character, the first being 1, and what must be there.
    """

    def __init__(self, at: int, problem: str) -> None:
        super().__init__(f"character {at + 1}: {problem}")


@frozen(kw_only=True)
class Term:
    """
    One thing that an event must be like.
    """

    key: tuple[str, ...]
    """A name and the parts of a path; empty for plain text."""
    operator: str
    """":" also where "=" was written; empty for plain text."""
    value: str = field(repr=False)
    """Empty if it is missing."""
    is_quoted: bool
    is_negated: bool
    at: int
    """Where in the text it begins, from 0."""


def read_terms(text: str) -> tuple[Term, ...]:
    """
    Split a filter into its terms.

    Raises `QueryError` if a quote is not closed, there are more than MAX_TERMS, or a
    character is half of one (a lone surrogate), which no event can have.
    """
    if (half := _HALF.search(text)) is not None:
        raise QueryError(half.start(), "must be a whole character")
    terms: list[Term] = []
    at = _after_space(text, 0)
    while at < len(text):
        if len(terms) == MAX_TERMS:
            raise QueryError(at, f"must have at most {MAX_TERMS} terms; quote text to make it one")
        term, end = _read_term(text, at)
        terms.append(term)
        at = _after_space(text, end)
    return tuple(terms)


def _read_term(text: str, start: int) -> tuple[Term, int]:
    is_negated = text[start] == "-" and _after_space(text, start + 1) == start + 1 < len(text)
    at = start + is_negated
    key: tuple[str, ...] = ()
    operator = ""
    if (found := _KEY.match(text, at)) is not None and not _URL.match(text, at):
        parts = (bare or _unquoted(quoted) for quoted, bare in _PARTS.findall(found["parts"]))
        key = (found["name"], *parts)
        operator = ":" if found["operator"] == "=" else found["operator"]
        at = found.end()
    value, is_quoted, end = _read_value(text, at)
    term = Term(
        key=key,
        operator=operator,
        value=value,
        is_quoted=is_quoted,
        is_negated=is_negated,
        at=start,
    )
    return term, end


def _read_value(text: str, at: int) -> tuple[str, bool, int]:
    if not text.startswith('"', at):
        word = _WORD.match(text, at)
        end = at if word is None else word.end()
        return text[at:end], False, end
    if (found := _QUOTED_VALUE.match(text, at)) is None:
        raise QueryError(
            at, 'the quote must be closed: add ", or put a \\ before a quote that is meant'
        )
    return _unquoted(found[1]), True, found.end()


def _unquoted(quoted: str) -> str:
    return _ESCAPED.sub(r"\1", quoted)


def _after_space(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at
