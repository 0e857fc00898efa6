"""
What is known of the vendor's addresses, keys and errors.
"""

from __future__ import annotations

import pytest

from hh_exporter import Exporter
from hh_exporter._dialects.vendor import (
    CONTROL_PLANE,
    DATA_PLANE,
    HOSTS,
    describe_key,
    other_host,
    read_error,
    why_unable,
)
from hh_exporter._environment import Settings
from tests.scripted_server import ScriptedServer, status
from tests.support import push_all

SECRET = "a1b2c3_d4e5f6"
OWN_ERROR = (
    b'{"statusCode": 404, "success": false, "errorCode": "NOT_FOUND", "message": "No such key"}'
)


@pytest.mark.parametrize("prefix", ["hh_ingst_", "hh_", "hh", "sk-", ""])
def test_keys_that_may_send_are_no_problem(prefix: str) -> None:
    """
    Ingestion keys and project keys can send; of keys that we don't know nothing is said.
    """
    assert why_unable(prefix + SECRET) == ""
    assert why_unable(None) == ""


@pytest.mark.parametrize("prefix", ["hh_ro_", "hh_fgdp_", "hh_fgcp_"])
def test_keys_that_cannot_send_are_named(prefix: str) -> None:
    """
    The text names the kind of key and the kind to use, and shows nothing of the key.
    """
    problem = why_unable(prefix + SECRET)

    assert f"{prefix}…" in problem
    assert "hh_ingst_…" in problem
    assert SECRET not in problem + describe_key(prefix + SECRET)


@pytest.mark.parametrize("prefix", ["hh_ro_", "hh_ingst_"])
def test_an_exporter_warns_of_a_key_that_cannot_send(
    caplog: pytest.LogCaptureFixture, prefix: str
) -> None:
    """
    One warning when it is made, if its key can't send events.
    """
    Exporter(prefix + SECRET)

    assert [prefix in r.getMessage() for r in caplog.records] == [True] * (prefix == "hh_ro_")
    assert SECRET not in caplog.text


def test_each_address_has_another_one() -> None:
    """
    The two addresses of the vendor name each other; no other address has one.
    """
    assert other_host(DATA_PLANE) == CONTROL_PLANE
    assert other_host(CONTROL_PLANE.upper() + "/") == DATA_PLANE
    assert other_host("https://tenant.api.honeyhive.ai") == ""
    assert Settings().base_url == DATA_PLANE
    assert all(host == host.lower().rstrip("/") for host in HOSTS)


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>Not Found</html>", b"[]", b'{"detail": "Not Found"}', b'{"message": "x"}', b"{"],
)
def test_what_is_not_the_apis_own_error(body: bytes) -> None:
    """
    HTML, nothing, and the JSON of something else in front of the API are no error of its own.
    """
    assert read_error(body) is None


def test_the_apis_own_error_is_read() -> None:
    """
    Code and message are read as far as they are texts; the message stays out of the repr.
    """
    error = read_error(OWN_ERROR)

    assert error is not None
    assert (error.code, error.message) == ("NOT_FOUND", "No such key")
    assert "No such key" not in repr(error)
    assert read_error(b'{"errorCode": 4, "message": [1]}') is not None


@pytest.mark.parametrize(
    ("body", "first"), [(OWN_ERROR, "check api_key"), (b"<html>", "check base_url")]
)
async def test_a_404_of_the_api_itself_is_about_the_key_first(
    exporter: Exporter, server: ScriptedServer, body: bytes, first: str
) -> None:
    """
    The API answers 404 for an invalid, revoked or expired key; anything else is an address first.
    """
    server.default = status(404, body)
    push_all(exporter, "e0")
    await exporter.flush()

    reason = exporter.stats().health_reason
    assert reason.startswith(f"HTTP 404: {first}")
    assert "HH_API_KEY" in reason
    assert "HH_EXPORTER_DIALECT" in reason
