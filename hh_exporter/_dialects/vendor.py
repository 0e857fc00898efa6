"""
What the vendor publishes of its addresses, its keys and its errors.

Facts, each from one place: the data plane's OpenAPI description 1.9.0 with its README, the
changelogs of the vendor's SDKs, and what its clients send. Nothing was tried against the live
service.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final
from uuid import NAMESPACE_URL, uuid5

import orjson
from attrs import field, frozen

from hh_exporter._values.reading import read_json

__all__ = [
    "CONTROL_PLANE",
    "DATA_PLANE",
    "HOSTS",
    "ApiError",
    "describe_key",
    "is_uuid",
    "other_host",
    "read_error",
    "to_session_uuid",
    "why_unable",
]

DATA_PLANE: Final = "https://api.dp1.us.honeyhive.ai"
"""Where events go, since the vendor's SDK 1.0.1."""
CONTROL_PLANE: Final = "https://api.honeyhive.ai"
"""Where older clients sent events; keys of today are refused there."""
HOSTS: Final = (DATA_PLANE, CONTROL_PLANE)
"""A key is good for one of them."""

_CAN_SEND: Final = "use an ingestion key (hh_ingst_…) or a project key (hh_…)"
_KINDS: Final = {
    "hh_ingst_": ("hh_ingst_…, for ingestion", True),
    "hh_ro_": ("hh_ro_…, read-only", False),
    "hh_fgdp_": ("hh_fgdp_…, for reading the data plane", False),
    "hh_fgcp_": ("hh_fgcp_…, for the control plane", False),
    "hh_": ("hh_…, for a project", True),
}
"""How each kind of key begins, what it is, and whether it can send events."""


def describe_key(key: str | None) -> str:
    """
    Name the kind of *key* by how it begins, and show nothing else of it.
    """
    return "none" if key is None else _kind_of(key)[0]


def why_unable(key: str | None) -> str:
    """
    Say why *key* can't send events and which kind can; empty if it may be able to.
    """
    if key is None:
        return ""
    name, can_send = _kind_of(key)
    return "" if can_send else f"a key {name}, can't send events: {_CAN_SEND}"


def _kind_of(key: str) -> tuple[str, bool]:
    kinds = (kind for prefix, kind in _KINDS.items() if key.startswith(prefix))
    return next(kinds, ("of an unknown kind", True))


def other_host(base_url: str) -> str:
    """
    Name the other one of the vendor's two addresses; empty where *base_url* is neither.
    """
    others = {DATA_PLANE: CONTROL_PLANE, CONTROL_PLANE: DATA_PLANE}
    return others.get(base_url.lower().rstrip("/"), "")


# Half the time that it takes with re.IGNORECASE.
_UUID: Final = re.compile("[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


@lru_cache(maxsize=4096)  # push asks for each event
def to_session_uuid(session_id: str) -> str:
    """
    Give the UUID by which the API knows a session.

    The API replaces an id that is not a UUID by a new one each time, so a program's own id
    becomes the UUID that the vendor's rule makes of it: the same in every process.

    Raises:
        UnicodeEncodeError: The id has lone surrogates.
    """
    return session_id if is_uuid(session_id) else str(uuid5(NAMESPACE_URL, session_id))


def is_uuid(text: str) -> bool:
    """
    Whether *text* is a UUID as the API writes it, in upper or lower case.
    """
    return _UUID.fullmatch(text) is not None


@frozen(kw_only=True)
class ApiError:
    """
    The body of an error that is the API's own; proxies in front of it send HTML, or nothing.
    """

    code: str
    message: str = field(repr=False)
    """The server's words; they can echo what was sent."""


def read_error(body: bytes) -> ApiError | None:
    """
    Read the body of an answer that is not 2xx; None where it is not the API's own error.
    """
    try:
        found = read_json(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(found, dict) or not {"statusCode", "errorCode"} & found.keys():
        return None
    code, message = found.get("errorCode"), found.get("message")
    return ApiError(
        code=code if isinstance(code, str) else "",
        message=message if isinstance(message, str) else "",
    )
