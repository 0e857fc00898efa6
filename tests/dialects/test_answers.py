"""
What an answer says of each record, in every case that is known of servers.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeAlias

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hh_exporter._dialects.dialect import Answer, Dialect
from hh_exporter._dialects.registry import DIALECTS
from hh_exporter._outcomes import Rest, Verdict
from tests.builders import dialects

ROUTE = "check base_url (HH_API_URL) and dialect (HH_EXPORTER_DIALECT)"
IDS = ("e1", "e2", "e3")
NONE: tuple[str, ...] = ()
OURS = ["e1", "foreign", "e3"]
THEIRS = ["srv-1", "srv-2", "srv-3"]
SECRET = "what the user typed"

Read: TypeAlias = Callable[..., Verdict]


def answer(status: int, body: Any = b"", **rest: Any) -> Answer:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return Answer(status=status, body=raw, content_type="application/json", **rest)


@pytest.fixture(params=list(DIALECTS))
def dialect(request: pytest.FixtureRequest) -> Dialect:
    return DIALECTS[request.param]()


@pytest.fixture
def read(dialect: Dialect) -> Read:
    """
    What the dialect reads from a status and a body, for the three events of `IDS`.
    """

    def read(status: int, body: Any = b"", **rest: Any) -> Verdict:
        return dialect.read(answer(status, body, **rest), IDS)

    return read


def said(verdict: Verdict) -> tuple[Rest, set[str]]:
    return verdict.rest, set(verdict.created)


ACCEPTED: dict[str, Any] = {
    "all ids": {"event_ids": list(IDS), "success": True},
    "empty body": b"",
    "no JSON": b"ok",
    "an odd text": b'{"event_ids": [], "message": "cut \\ud83d"}',
    "cut short": b'{"event_ids": ["e1"',
    "too few ids": {"event_ids": ["e1"]},
    "no ids": {"event_ids": []},
    "foreign ids": {"event_ids": THEIRS},
    "no list": {"event_ids": 3},
    "no object": [1],
    "null": b"null",
    "empty errors": {"event_ids": THEIRS, "errors": []},
    "null errors": {"errors": None},
    "success is false": {"success": False},
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_2xx_delivers_all(read: Read, case: str) -> None:
    """
    Without errors in it, whatever else the body says or lacks changes nothing.
    """
    for status in (200, 201, 202, 204, 299):
        verdict = read(status, ACCEPTED[case], cut_short=case == "cut short")

        assert said(verdict) == (Rest.NOTHING, set(IDS))


PAGE = b"<!doctype html><html>"


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("text/html", PAGE),
        ("text/html", b""),
        ("text/html", b'{"success": true}'),
        ("text/plain", PAGE),
        ("application/json", PAGE),
        ("", PAGE),
        ("", b" \r\n\t" + PAGE),
        ("", b"\xef\xbb\xbf" + PAGE),
        ("", "\ufeff<html>".encode("utf-16-le")),
        ("", "\ufeff<html>".encode("utf-16-be")),
        ("application/xml", b"<Error><Code>AccessDenied</Code></Error>"),
    ],
)
def test_a_web_page_is_not_our_server(dialect: Dialect, content_type: str, body: bytes) -> None:
    """
    2xx with one suspends, whatever it is called: somebody else answers at that address.
    """
    verdict = dialect.read(Answer(status=200, content_type=content_type, body=body), IDS)

    assert said(verdict) == (Rest.SUSPENDED, set())
    assert "HH_API_URL" in verdict.hint


def test_what_lists_our_ids_is_no_page(dialect: Dialect) -> None:
    """
    Whatever its type is called: who knows the ids knows the events.
    """
    for ids, rest in ((list(IDS), Rest.NOTHING), (OURS, Rest.RETRY)):
        body = orjson.dumps({"event_ids": ids})
        verdict = dialect.read(Answer(status=200, content_type="text/html", body=body), IDS)

        assert said(verdict) == (rest, set(IDS).intersection(ids))


@pytest.mark.parametrize(
    "body",
    [
        rb'{"event_ids": ["e1", "e3"], "errors": ["cut \ud83d"]}',
        rb'{"event_ids": ["e1", "e3", "\ud800"], "errors": ["\\ud83d \ud83d\ude00"]}',
        b'\xef\xbb\xbf{"event_ids": ["e1", "e3"], "errors": ["x"]}',
        b'{"event_ids": ["e1", "e3"], "errors": ["caf\xe9"]}',
        b'{"event_ids": ["e1", "e3"], "errors": [NaN], "took": -Infinity}',
        b'{"event_ids": ["e1", "e3"], "errors": ["a\nb\x01"]}',
        '{"event_ids": ["e1", "e3"], "errors": ["x"]}'.encode("utf-16"),
        b'{"event_ids": ["e1", "e3"], "errors": [' + b"9" * 5000 + b"]}",
    ],
    ids=["half a pair", "pairs", "BOM", "Latin-1", "NaN", "controls", "UTF-16", "a long number"],
)
def test_odd_json_is_read(read: Read, body: bytes) -> None:
    """
    What names our ids counts, also where a strict reader would refuse the text around them.
    """
    for status in (200, 400, 500, 503):
        assert said(read(status, body)) == (Rest.FAILED, {"e1", "e3"})


@pytest.mark.parametrize(
    ("body", "rest", "created"),
    [
        ({"event_ids": list(IDS), "errors": ["odd"]}, Rest.NOTHING, IDS),
        ({"event_ids": OURS, "errors": ["missing model"]}, Rest.FAILED, ("e1", "e3")),
        ({"event_ids": OURS, "errors": "missing model"}, Rest.FAILED, ("e1", "e3")),
        ({"event_ids": OURS, "errors": ["x"], "success": True}, Rest.FAILED, ("e1", "e3")),
        ({"event_ids": [], "errors": ["missing model"]}, Rest.FAILED, NONE),
        ({"event_ids": THEIRS, "errors": ["missing model"]}, Rest.AMBIGUOUS, NONE),
        ({"event_ids": [1, 2, 3], "errors": ["missing model"]}, Rest.AMBIGUOUS, NONE),
    ],
    ids=["all", "some", "text", "success", "none", "foreign", "numbers"],
)
def test_errors_beside_ids_say_what_was_created(
    read: Read, body: Any, rest: Rest, created: tuple[str, ...]
) -> None:
    """
    The ids that are ours count under any status, the foreign ones under none.
    """
    for status in (200, 207, 400, 409, 422, 500, 501):
        verdict = read(status, body)

        assert said(verdict) == (rest, set(created))


@pytest.mark.parametrize(
    ("ids", "rest", "created"),
    [
        (list(IDS), Rest.NOTHING, IDS),
        (OURS, Rest.RETRY, ("e1", "e3")),
        (["e1", "e1", "e1"], Rest.RETRY, ("e1",)),
        (THEIRS, Rest.AMBIGUOUS, NONE),
        ([1, 2, 3], Rest.AMBIGUOUS, NONE),
    ],
    ids=["all", "some", "repeated", "foreign", "numbers"],
)
def test_ids_without_errors_say_what_was_created(
    read: Read, ids: list[Any], rest: Rest, created: tuple[str, ...]
) -> None:
    """
    The rest is sent again, unless what was created can't be told from it.
    """
    for status in (400, 429, 500, 503):
        verdict = read(status, {"event_ids": ids})

        assert said(verdict) == (rest, set(created))


OURS_IN_CAPITALS = "6F1D2C3B-0A1B-4C2D-8E3F-A1B2C3D4E5F6"


@pytest.mark.parametrize(
    ("sent", "named", "created"),
    [
        ({OURS_IN_CAPITALS}, [OURS_IN_CAPITALS.lower()], {OURS_IN_CAPITALS}),
        ({OURS_IN_CAPITALS.lower()}, [OURS_IN_CAPITALS], {OURS_IN_CAPITALS.lower()}),
        ({OURS_IN_CAPITALS, "e1"}, [OURS_IN_CAPITALS.title(), "e1"], {OURS_IN_CAPITALS, "e1"}),
        ({OURS_IN_CAPITALS, "e1"}, ["e1"], {"e1"}),
        (
            {OURS_IN_CAPITALS, OURS_IN_CAPITALS.lower()},
            [OURS_IN_CAPITALS.lower()],
            {OURS_IN_CAPITALS.lower()},
        ),
        ({"e1", "E2"}, ["e1", "e2"], {"e1"}),
        ({"e1"}, ["E1"], set()),
    ],
    ids=["lower", "upper", "mixed", "missing", "both", "no UUID", "no UUID alone"],
)
def test_a_uuid_is_the_same_in_any_case(
    dialect: Dialect, sent: set[str], named: list[str], created: set[str]
) -> None:
    """
    RFC 9562 §4 writes it in lower case and reads both; other ids are exact.
    """
    verdict = dialect.read(answer(500, {"event_ids": named, "errors": ["x"]}), sent)

    assert set(verdict.created) == created


def test_errors_alone_on_2xx_are_ambiguous(read: Read) -> None:
    """
    Something was accepted, and nothing says what.
    """
    assert read(200, {"errors": ["missing model"]}).rest is Rest.AMBIGUOUS


@pytest.mark.parametrize(
    ("rest", "statuses"),
    [
        (Rest.RETRY, [408, 425, 429, 502, 503, 504]),
        (Rest.SUSPENDED, [401, 403, 404, 405, 407, 410, 415, 451]),
        (Rest.TOO_LARGE, [413]),
    ],
)
def test_an_empty_list_says_nothing_where_no_event_was_tried(
    read: Read, rest: Rest, statuses: list[int]
) -> None:
    """
    A gateway that repeats the shape of an answer refused the request as a whole.
    """
    for status in statuses:
        assert read(status, {"event_ids": [], "errors": ["try again"]}).rest is rest, status


BODIES: list[Any] = [b"", b"<html>", {"message": "no"}, {"errors": ["no"]}, {"event_ids": []}]


@pytest.mark.parametrize(
    ("rest", "statuses"),
    [
        (Rest.INVALID, [400, 422]),
        (Rest.TOO_LARGE, [413]),
        (Rest.RETRY, [408, 425, 429, 500, 501, 502, 503, 504, 507, 520, 529, 599]),
        (Rest.SUSPENDED, [101, 300, 301, 302, 303, 304, 307, 308, 399]),
        (Rest.SUSPENDED, [401, 402, 403, 404, 405, 406, 407, 409, 410, 415, 418, 451, 499]),
        (Rest.SUSPENDED, [600, 999]),
    ],
)
def test_a_status_speaks_where_the_body_does_not(
    read: Read, rest: Rest, statuses: list[int]
) -> None:
    """
    Without ids in it, the body of any other answer changes nothing.
    """
    for status in statuses:
        for body in BODIES:
            verdict = read(status, body)

            assert said(verdict) == (rest, set()), status
            assert (verdict.status, verdict.reason) == (status, f"HTTP {status}")


@pytest.mark.parametrize(
    ("statuses", "hint"),
    [
        ([401, 403], "check api_key (HH_API_KEY)"),
        ([405, 410], ROUTE),
        (
            [404],
            f"{ROUTE}, then api_key (HH_API_KEY)",
        ),
        (
            [300, 301, 302, 307, 308, 399],
            "check base_url (HH_API_URL): it redirects, and the key follows nowhere",
        ),
        ([402, 407, 415, 451, 499], "check base_url (HH_API_URL) and api_key (HH_API_KEY)"),
    ],
)
def test_a_suspension_names_the_setting_to_check(
    read: Read, statuses: list[int], hint: str
) -> None:
    """
    The hint says what a person can do about it; other verdicts have none.
    """
    assert {read(status).hint for status in statuses} == {hint}
    assert read(500).hint == read(400).hint == ""


def test_no_answer_is_tried_again(dialect: Dialect) -> None:
    """
    Without a status nothing is known to be created; the failure is the reason.
    """
    verdict = dialect.read(Answer(status=None, failure="connection failed"), IDS)

    assert verdict == Verdict(rest=Rest.RETRY, status=None, reason="connection failed")


def test_another_answer_cut_short_is_tried_again(read: Read) -> None:
    """
    What is missing of an error's body may be the ids of what was created.
    """
    for status in (400, 422, 500, 503):
        verdict = read(status, b'{"event_ids": [', cut_short=True)

        assert said(verdict) == (Rest.RETRY, set()), status


def test_the_servers_words_are_kept_apart(read: Read) -> None:
    """
    They may echo a prompt: they are in the text, bounded, and nowhere else.
    """
    verdict = read(400, {"errors": [SECRET], "message": "x" * 10_000})

    assert SECRET in verdict.text
    assert len(verdict.text) == 4096
    assert SECRET not in repr(verdict)


def test_a_single_answer_names_the_servers_id(dialect: Dialect) -> None:
    """
    The server's id where the answer has one, else the one that was sent.
    """
    assert dialect.read_single(answer(200, {"event_id": "srv-1"}), "e1")[1] == "srv-1"
    others: list[Any] = [{}, {"event_id": None}, {"event_id": 1}, {"event_id": ""}, [], b""]
    for body in others:
        verdict, named = dialect.read_single(answer(200, body), "e1")
        assert (said(verdict), named) == ((Rest.NOTHING, {"e1"}), "e1")
    verdict, named = dialect.read_single(answer(500, {"event_id": "srv-1"}), "e1")
    assert (said(verdict), named) == ((Rest.RETRY, set()), "e1")


words = st.sampled_from([*IDS, *THEIRS, "", "\ud800"]) | st.text(max_size=3)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
objects = st.fixed_dictionaries(
    {},
    optional={name: values | st.lists(words) for name in ("event_ids", "errors", "event_id")},
)
bodies = st.binary() | objects.map(lambda body: json.dumps(body).encode())
answers = st.builds(
    Answer,
    status=st.none() | st.integers(100, 599) | st.sampled_from([200, 400, 500]),
    content_type=st.sampled_from(["", "application/json", "text/html"]),
    body=bodies,
    cut_short=st.booleans(),
)


@dialects
@settings(deadline=None)
@given(answers, st.sets(st.sampled_from(IDS), min_size=1))
@example(answer(500, b'{"event_ids":' + b"[" * 100_000), {"e1"})
@example(answer(500, b'{"event_ids":["\\ud800"],"errors":{"\xff":1}}'), {"e1"})
def test_any_answer_is_read(dialect: Dialect, any_answer: Answer, sent: set[str]) -> None:
    """
    Reading never raises, and what it counts as created was sent and, unless the
    server accepted the whole, is named in the body.
    """
    named = {i for i in IDS if b'"%s"' % i.encode() in any_answer.body}
    for verdict in (
        dialect.read(any_answer, sent),
        dialect.read_single(any_answer, min(sent))[0],
    ):
        accepted = str(any_answer.status).startswith("2") and verdict.rest is Rest.NOTHING
        assert verdict.created <= (sent if accepted else sent & named)


def test_errors_of_any_depth_are_only_counted(read: Read) -> None:
    """
    What the errors hold is not looked into, however deep it goes.
    """
    deep = b"[" * 900 + b"]" * 900

    verdict = read(500, b'{"event_ids": [], "errors": [' + deep + b"]}")

    assert said(verdict) == (Rest.FAILED, set())
