"""
Read an answer by the event ids in it, as every dialect must.

The rule: what the body says was created comes before what the status means,
since this server answers HTTP 500 for a batch that it created in part (OpenAPI,
POST /events/model/batch), and older ones name in it what they created; newer
ones need not. Nothing is read by position, and `success`, which is true even
then, is not read at all.
"""

from __future__ import annotations

from collections.abc import Collection
from http import HTTPStatus
from typing import Any

import orjson

from hh_exporter._dialects.dialect import Answer
from hh_exporter._dialects.vendor import is_uuid, read_error
from hh_exporter._outcomes import Rest, Verdict
from hh_exporter._values.reading import read_json
from hh_exporter.events import CreateModelEventBatchResponseBody

__all__ = ["read_answer", "read_single_answer"]

_TEXT_LIMIT = 4096
"""How much of the server's own words a verdict keeps, in bytes."""

_PASSING = frozenset({408, 425, 429})
_KEY = frozenset({401, 403})
_UNKNOWN = frozenset({404, 405, 410})

# An empty list of ids beside errors says that each event was tried and failed;
# under these statuses it only repeats that the request as a whole went nowhere.
_NOT_TRIED = _PASSING | _KEY | {404, 405, 407, 410, 413, 415, 451, 502, 503, 504}

_CHECK_KEY = "check api_key (HH_API_KEY)"
_CHECK_URL = "check base_url (HH_API_URL)"
_CHECK_ROUTE = "check base_url (HH_API_URL) and dialect (HH_EXPORTER_DIALECT)"
_CHECK_ROUTE_FIRST = f"{_CHECK_ROUTE}, then api_key (HH_API_KEY)"
_CHECK_KEY_FIRST = (
    "check api_key (HH_API_KEY), then base_url (HH_API_URL) and dialect (HH_EXPORTER_DIALECT)"
)
_CHECK_BOTH = "check base_url (HH_API_URL) and api_key (HH_API_KEY)"


def read_answer(answer: Answer, event_ids: Collection[str], *, is_update: bool = False) -> Verdict:
    """
    Say what *answer* means for each of *event_ids*, or for the update of one.
    """
    status = answer.status
    if status is None:
        return Verdict(rest=Rest.RETRY, status=None, reason=answer.failure)

    def verdict(rest: Rest, created: Collection[str] = (), hint: str = "") -> Verdict:
        return Verdict(
            created=frozenset(created),
            rest=rest,
            status=status,
            reason=f"HTTP {status}",
            hint=hint,
            text=answer.body[:_TEXT_LIMIT].decode("utf-8", "replace"),
        )

    accepted = HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES
    is_foreign = accepted and answer.is_page
    body = _read_body(answer.body)
    if accepted and not body.errors and not is_foreign:
        return verdict(Rest.NOTHING, event_ids)

    created = _find_created(body.event_ids or (), event_ids)
    if len(created) == len(event_ids):
        return verdict(Rest.NOTHING, created)
    if created:
        return verdict(Rest.FAILED if body.errors else Rest.RETRY, created)
    if is_foreign:
        return verdict(Rest.SUSPENDED, hint=f"{_CHECK_URL}: a web page answers there")
    if body.event_ids or (accepted and body.event_ids is None):
        return verdict(Rest.AMBIGUOUS)
    if body.event_ids is not None and body.errors and status not in _NOT_TRIED:
        return verdict(Rest.FAILED)
    rest, hint = _read_status(status)
    if is_update and status in _UNKNOWN:
        rest = Rest.INVALID  # the server does not know the event: our address and key may be fine
    if status == HTTPStatus.NOT_FOUND:
        # The API itself answers so for a key that is invalid, revoked or expired.
        hint = _CHECK_KEY_FIRST if read_error(answer.body) else _CHECK_ROUTE_FIRST
    if rest is Rest.INVALID and answer.cut_short:
        rest = Rest.RETRY  # what is missing may have named what was created
    return verdict(rest, hint=hint)


def read_single_answer(answer: Answer, event_id: str) -> tuple[Verdict, str]:
    """
    Say what *answer* means for the one event that was sent, and what its id is.
    """
    verdict = read_answer(answer, (event_id,))
    named = _load_object(answer.body).get("event_id") if verdict.created else None
    return verdict, named if isinstance(named, str) and named else event_id


def _find_created(named: Collection[str], event_ids: Collection[str]) -> set[str]:
    """
    Find those of *event_ids* that the server names; it may write a UUID in the other case.
    """
    created = set(named).intersection(event_ids)
    if len(created) < len(event_ids):
        others = {i.lower() for i in named if i not in created and is_uuid(i)}
        created.update(i for i in event_ids if i.lower() in others)
    return created


def _read_body(body: bytes) -> CreateModelEventBatchResponseBody:
    """
    Pick out what can be used of a body that may be anything.
    """
    found = _load_object(body)
    ids = found.get("event_ids")
    # What is no text names nothing of ours, but something; what the errors say is not read.
    return CreateModelEventBatchResponseBody(
        event_ids=[i if isinstance(i, str) else "" for i in ids] if isinstance(ids, list) else None,
        errors=["some"] if found.get("errors") else [],
    )


def _load_object(body: bytes) -> dict[str, Any]:
    """
    Parse a JSON object; anything else is an empty one.
    """
    try:
        value = read_json(body)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def _read_status(status: int) -> tuple[Rest, str]:
    """
    Say what *status* means for a request of which nothing was created.
    """
    match status:
        case 400 | 422:
            return Rest.INVALID, ""
        case 413:
            return Rest.TOO_LARGE, ""
        case _ if status in _PASSING or 500 <= status < 600:
            return Rest.RETRY, ""
        case _ if status in _KEY:
            return Rest.SUSPENDED, _CHECK_KEY
        case 404 | 405 | 410:
            return Rest.SUSPENDED, _CHECK_ROUTE
        case _ if 300 <= status < 400:
            return Rest.SUSPENDED, f"{_CHECK_URL}: it redirects, and the key follows nowhere"
        case _:
            return Rest.SUSPENDED, _CHECK_BOTH
