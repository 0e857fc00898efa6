"""
`hh-exporter check`: what works, in plain words, and without an event.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import attrs
import pytest

from hh_exporter._cli.check import Finding, Used, check
from hh_exporter._clock import SystemClock
from hh_exporter._collector import Collector
from hh_exporter._dialects.registry import DIALECTS
from hh_exporter._dialects.vendor import HOSTS
from hh_exporter._environment import Settings, read_settings
from tests.command import call, run
from tests.scripted_server import (
    Scripted,
    ScriptedServer,
    created,
    created_cut_short,
    created_html,
    created_without_body,
    hang,
    html,
    redirect,
    reset_before_storing,
    status,
    too_many,
    unavailable,
)
from tests.support import FakeClock

KEY = "hh_canary_7b1d"
"""Must never be told, nor what a server adds to it."""
OWN_ERROR = b'{"statusCode":404,"errorCode":"E","message":"no %s here \\u001b[31m"}' % KEY.encode()
TRIED = b'{"event_ids":[],"errors":["%s"],"success":true}' % KEY.encode()


@pytest.fixture
async def other() -> AsyncIterator[ScriptedServer]:
    async with ScriptedServer() as other:
        yield other


def settings_for(server: ScriptedServer, **arguments: Any) -> Settings:
    return Settings(**{"base_url": server.url, "api_key": KEY} | arguments)


async def findings_for(
    server: ScriptedServer, *others: ScriptedServer, **arguments: Any
) -> list[Finding]:
    """
    Check the settings for *server*, which belongs together with *others* if there are any.
    """
    hosts = [s.url for s in (server, *others)] if others else []
    return await check(settings_for(server, **arguments), hosts, SystemClock())


def requests_of(server: ScriptedServer) -> list[str]:
    return [request.path for request in server.requests]


def not_v1(request: Any) -> Scripted:
    """
    Answer as a server that does not know the newer routes.
    """
    return status(404) if request.path.startswith("/v1") else created()


class TestFinding:
    """
    What one answer means.
    """

    @pytest.mark.parametrize("dialect", DIALECTS)
    async def test_it_works_and_leaves_no_event(self, dialect: str) -> None:
        """
        A server that takes events is asked in its dialect, and has no more of them than before.
        """
        async with Collector() as collector:
            settings = Settings(base_url=collector.url, dialect=dialect)
            (finding,) = await check(settings, (), SystemClock())
            assert await collector.count() == 0

        assert finding == Finding(
            base_url=settings.base_url,
            dialect=dialect,
            works=True,
            status=200,
            said="the server takes events: address and dialect are right",
        )

    @pytest.mark.parametrize(
        ("answer", "works", "said"),
        [
            (created(), True, "takes events: key, address and dialect are right"),
            (status(201, b"{}"), True, "takes events"),
            (status(400), True, "as far as can be told: it was reached"),
            (status(422), True, "takes no empty batch (HTTP 422)"),
            (status(500, TRIED), True, "takes no empty batch (HTTP 500)"),
            (status(200, b'{"errors":["x"]}'), True, "takes no empty batch (HTTP 200)"),
            (status(401), False, "the key is refused (HTTP 401)"),
            (html(403), False, "the key is refused (HTTP 403)"),
            (status(404), False, "(HTTP 404): wrong address or dialect"),
            (status(404, OWN_ERROR), False, "the key is refused (HTTP 404): invalid, revoked"),
            (status(404, OWN_ERROR), False, 'the server says "no … here  [31m"'),
            (status(405), False, "(HTTP 405): wrong address or dialect"),
            (status(410), False, "(HTTP 410): wrong address or dialect"),
            (status(407), False, "a proxy asks for a user"),
            (created_html(), False, "a web page answers there (HTTP 200): wrong address"),
            (html(400), False, "a web page answers there (HTTP 400): wrong address"),
            (html(502), False, "fails now (HTTP 502): try again later"),
            (status(500, b'{"message":"%s"}' % KEY.encode()), False, "fails now (HTTP 500)"),
            (unavailable(), False, "it was reached, but fails now (HTTP 503)"),
            (too_many(5), False, "fails now (HTTP 429)"),
            (status(451), False, "it refuses us (HTTP 451): check base_url"),
            (status(413), False, "it refuses us (HTTP 413)"),
            (status(200, b"ok", "text/plain"), False, "sends no JSON (HTTP 200): wrong address"),
            (status(200, b"[]"), False, "sends no JSON"),
            (created_without_body(), False, "sends no JSON"),
            (created_cut_short(), False, "its answer was cut short (HTTP 200)"),
            (reset_before_storing(), False, "connection failed (connection reset by peer)"),
        ],
    )
    async def test_each_answer_has_its_words(
        self, server: ScriptedServer, answer: Scripted, works: bool, said: str
    ) -> None:
        """
        They say whether events would be taken; of the server's own words only an error's message.
        """
        server.default = answer
        finding, *_ = await findings_for(server)

        assert finding.works is works
        assert said in finding.said
        assert KEY not in finding.said
        assert {request.headers["authorization"] for request in server.requests} == {
            f"Bearer {KEY}"
        }
        assert server.created == []

    @pytest.mark.parametrize(
        ("location", "target"),
        [
            (f"https://user:{KEY}@other.example:8443/{KEY}?{KEY}", "https://other.example:8443"),
            ("http://[::1]/", "http://[::1]"),
            ("//Other.example/x", "other.example"),
            ("/elsewhere", "another path there"),
            ("https://[", "another path there"),
            ("https://exa\xadmple", "another host"),
        ],
    )
    async def test_a_redirect_is_named_by_its_host(
        self, server: ScriptedServer, location: str, target: str
    ) -> None:
        """
        Where it leads is said without path, query and user, and nobody follows.
        """
        server.default = redirect(location)
        finding, *_ = await findings_for(server)

        assert not finding.works
        assert finding.said == (f"it redirects to {target} (HTTP 307), and the key follows nowhere")

    async def test_a_redirect_is_not_followed(
        self, server: ScriptedServer, other: ScriptedServer
    ) -> None:
        """
        The key does not go where an answer points.
        """
        server.default = redirect(f"{other.url}/events/model/batch")
        await findings_for(server)

        assert other.connections == 0

    async def test_a_refusal_without_a_key_is_no_fault_of_the_key(
        self, server: ScriptedServer
    ) -> None:
        """
        Where none was sent, the server asks for one.
        """
        server.default = status(401)
        finding, *_ = await findings_for(server, api_key=None)

        assert finding.said == "it asks for a key (HTTP 401)"

    async def test_nobody_is_waited_for_longer_than_the_timeout(
        self, server: ScriptedServer, clock: FakeClock
    ) -> None:
        """
        A server that is silent for that long does not work.
        """
        server.default = hang()
        checking = asyncio.create_task(check(settings_for(server, request_timeout=3.0), (), clock))
        await server.next_request()
        await clock.advance(2.9)
        assert not checking.done()
        await clock.advance(0.1)
        (finding,) = await checking

        assert (finding.works, finding.said) == (False, "no answer in time")


class TestAlternatives:
    """
    What is tried where the given settings fail.
    """

    async def test_what_works_is_tried_alone(
        self, server: ScriptedServer, other: ScriptedServer
    ) -> None:
        """
        Nobody else gets the key.
        """
        (finding,) = await findings_for(server, other)

        assert finding.works
        assert requests_of(server) == ["/events/model/batch"]
        assert other.connections == 0

    async def test_the_other_dialect_comes_first(
        self, server: ScriptedServer, other: ScriptedServer
    ) -> None:
        """
        The host that was named is asked in both before another is.
        """
        server.default = not_v1
        findings = await findings_for(server, other, dialect="v1")

        assert [(f.base_url, f.dialect, f.works) for f in findings] == [
            (server.url, "v1", False),
            (server.url, "legacy", True),
        ]
        assert other.connections == 0

    async def test_then_comes_the_other_host(
        self, server: ScriptedServer, other: ScriptedServer
    ) -> None:
        """
        A key that one of the vendor's hosts refuses may be for the other, in either dialect.
        """
        server.default = status(401)
        other.default = not_v1
        findings = await findings_for(server, other, dialect="v1")

        assert [(f.base_url, f.dialect, f.works) for f in findings] == [
            (server.url, "v1", False),
            (server.url, "legacy", False),
            (other.url, "v1", False),
            (other.url, "legacy", True),
        ]
        assert server.created == other.created == []

    async def test_a_host_that_nobody_reaches_is_tried_once(
        self, server: ScriptedServer, other: ScriptedServer
    ) -> None:
        """
        Whatever the dialect, it can't be heard.
        """
        await server.stop()
        findings = await findings_for(server, other)

        assert [(f.base_url, f.dialect, f.works) for f in findings] == [
            (server.url, "legacy", False),
            (other.url, "legacy", True),
        ]

    async def test_the_key_goes_to_no_host_that_was_not_named(
        self, server: ScriptedServer, other: ScriptedServer
    ) -> None:
        """
        An address that is not one of those that belong together is tried alone.
        """
        server.default = status(401)
        third = "http://127.0.0.1:9"
        findings = await check(settings_for(server), [other.url, third], SystemClock())

        assert {finding.base_url for finding in findings} == {server.url}
        assert other.connections == 0

    async def test_where_nothing_works_all_was_tried(
        self, server: ScriptedServer, other: ScriptedServer
    ) -> None:
        """
        Each finding is told as it comes, and none of them works.
        """
        server.default = other.default = status(403)
        told: list[Finding] = []
        hosts = [server.url, other.url]
        findings = await check(settings_for(server), hosts, SystemClock(), told.append)

        assert told == findings
        assert [finding.works for finding in findings] == [False] * 4

    def test_the_default_is_one_of_the_vendors_hosts(self) -> None:
        """
        Who sets no address has the other host tried.
        """
        assert Settings().base_url in HOSTS
        assert all(host == host.lower().rstrip("/") for host in HOSTS)


class TestUsed:
    """
    Where settings came from, and what to set instead.
    """

    WORKS = Finding(base_url="http://b", dialect="v1", works=True, status=200, said="")

    def used(self, given: dict[str, Any], environ: dict[str, str]) -> Used:
        return Used.of(read_settings(given, environ), given, environ)

    def test_each_setting_names_its_origin(self) -> None:
        """
        An option, the variable that counts, or the default.
        """
        environ = {
            "HH_EXPORTER_DIALECT": "v1",
            "HH_DATA_PLANE_URL": "http://a",
            "HH_INGESTION_API_KEY": "hh_ingst_1",
            "HH_API_KEY": "hh_1",
        }

        assert list(self.used({"base_url": "http://b", "dialect": None}, environ).rows()) == [
            "base_url         http://b (--url)",
            "dialect          v1 (HH_EXPORTER_DIALECT)",
            "api_key          hh_ingst_…, for ingestion (HH_INGESTION_API_KEY)",
            "request_timeout  10 s (default)",
            "max_in_flight    4 at first, 16 at most (default)",
        ]
        assert self.used({"base_url": " "}, environ).origins["base_url"] == "HH_DATA_PLANE_URL"

    @pytest.mark.parametrize(
        ("key", "shown"),
        [
            (f"hh_ingst_{KEY}", "hh_ingst_…, for ingestion"),
            (f"hh_fgdp_{KEY}", "hh_fgdp_…, for reading the data plane"),
            (f"hh_{KEY}", "hh_…, for a project"),
            (f"sk-{KEY}", "of an unknown kind"),
            ("", "none"),
        ],
    )
    def test_a_key_is_shown_by_its_kind(self, key: str, shown: str) -> None:
        """
        Its prefix helps to tell one from another; the rest is nobody's business.
        """
        used = self.used({}, {"HH_API_KEY": key})

        assert used.values["api_key"] == shown
        assert KEY not in repr(used)

    @pytest.mark.parametrize(
        ("given", "environ", "exports"),
        [
            ({}, {}, {"HH_API_URL": "http://b", "HH_EXPORTER_DIALECT": "v1"}),
            ({}, {"HH_API_URL": "http://b"}, {"HH_EXPORTER_DIALECT": "v1"}),
            (
                {},
                {"HH_EXPORTER_BASE_URL": "http://a", "HH_EXPORTER_DIALECT": "v1"},
                {"HH_EXPORTER_BASE_URL": "http://b"},
            ),
            ({}, {"HH_DATA_PLANE_URL": "http://b", "HH_EXPORTER_DIALECT": "v1"}, {}),
            (
                {"base_url": "http://b", "dialect": "v1"},
                {"HH_DATA_PLANE_URL": "http://a"},
                {"HH_DATA_PLANE_URL": "http://b", "HH_EXPORTER_DIALECT": "v1"},
            ),
        ],
    )
    def test_what_to_set_is_named_by_the_variable_that_counts(
        self, given: dict[str, Any], environ: dict[str, str], exports: dict[str, str]
    ) -> None:
        """
        What is set already stays, and what an option said is to be set for the exporter.
        """
        used = self.used(given, environ)

        assert used.exports(self.WORKS, environ) == exports
        assert used.exports(attrs.evolve(self.WORKS, works=False), environ) == {}


class TestCommand:
    """
    What people and scripts see.
    """

    async def test_it_says_what_works(self) -> None:
        """
        Where the settings do, it ends with 0 and says how to keep what options said.
        """
        async with Collector() as collector:
            url = collector.url
            finished = await run("check", "--url", url, HH_EXPORTER_DIALECT="v1")

        assert (finished.status, finished.stderr) == (0, "")
        assert finished.stdout.splitlines() == [
            f"base_url         {url} (--url)",
            "dialect          v1 (HH_EXPORTER_DIALECT)",
            "api_key          none (default)",
            "request_timeout  10 s (default)",
            "max_in_flight    4 at first, 16 at most (default)",
            "",
            f"works: v1 at {url}: the server takes events: address and dialect are right",
            "",
            "To use what works:",
            "",
            f"export HH_API_URL={url}",
        ]

    async def test_the_address_for_copies_is_tried_without_the_key(
        self, server: ScriptedServer, other: ScriptedServer
    ) -> None:
        """
        What it says of them is no matter of the status, and in the JSON, too.
        """
        other.default = status(401)
        environ: dict[str, Any] = {
            "HH_API_URL": server.url,
            "HH_API_KEY": KEY,
            "HH_EXPORTER_ALSO": other.url,
        }
        finished = await run("check", **environ)
        told = json.loads((await run("check", "--json", **environ)).stdout)

        assert (finished.status, finished.stderr) == (0, "")
        assert finished.stdout.splitlines()[-2:] == [
            "Copies (HH_EXPORTER_ALSO):",
            f"fails: legacy at {other.url}: it asks for a key (HTTP 401)",
        ]
        assert told["works"]
        assert told["copies"]["status"] == 401
        assert len(other.requests) == 2
        assert not any(KEY in repr(dict(request.headers)) for request in other.requests)

    async def test_an_alternative_that_works_is_no_success(self, server: ScriptedServer) -> None:
        """
        The status is that of the settings; one line of JSON has all that was found.
        """
        server.default = not_v1
        finished = await run(
            *("check", "--json", "--timeout", "30"),
            HH_API_URL=server.url,
            HH_EXPORTER_DIALECT="v1",
            HH_API_KEY=KEY,
        )
        told = json.loads(finished.stdout)

        assert (finished.status, finished.stderr) == (1, "")
        assert finished.stdout.count("\n") == 1
        assert told["works"] is False
        assert told["used"]["request_timeout"] == {"value": "30 s", "origin": "--timeout"}
        assert told["used"]["api_key"] == {"value": "hh_…, for a project", "origin": "HH_API_KEY"}
        assert [finding["works"] for finding in told["findings"]] == [False, True]
        assert [finding["status"] for finding in told["findings"]] == [404, 200]
        assert told["set"] == {"HH_EXPORTER_DIALECT": "legacy"}
        assert KEY not in finished.stdout

    def test_what_a_network_forbids_is_said_in_its_words(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """
        A proxy that can't be used is named, and a key in the clear is worth a warning.
        """
        monkeypatch.setenv("HH_API_KEY", KEY)
        for name in ("http_proxy", "HTTP_PROXY"):
            monkeypatch.setenv(name, "socks5://proxy.example")
        finished = call("check", "--url", "http://example.org")

        assert finished.status == 1
        assert finished.stdout.splitlines()[-1] == (
            "fails: legacy at http://example.org: "
            "http_proxy: only http:// and https:// proxies are supported"
        )
        assert finished.stderr.startswith("warning: base_url is plain http")
        assert KEY not in finished.stdout + finished.stderr

    @pytest.mark.parametrize(
        ("arguments", "environ", "hint"),
        [
            ([], {}, "set HH_API_KEY"),
            (["--url", "https://example.org"], {}, "set HH_API_KEY"),
            (["--url", f"http://user:{KEY}@localhost"], {}, "base_url must be"),
            (["--dialect", "v2"], {}, "--dialect"),
            (["--timeout", "0"], {}, "--timeout"),
            (["--timeout", "nan"], {}, "--timeout"),
            ([], {"HH_API_KEY": f"{KEY} {KEY}"}, "HH_API_KEY must be"),
            ([], {"HH_API_KEY": KEY, "HH_EXPORTER_DIALECT": "v2"}, "HH_EXPORTER_DIALECT must"),
            ([], {"HH_API_KEY": KEY, "HH_EXPORTER_DISABLED": "1"}, "HH_EXPORTER_DISABLED"),
        ],
    )
    def test_what_cannot_work_is_said_at_once(
        self,
        monkeypatch: pytest.MonkeyPatch,
        arguments: list[str],
        environ: dict[str, str],
        hint: str,
    ) -> None:
        """
        A wrong call or setting, or a missing key, ends it with 2 before anybody is asked.
        """
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        finished = call("check", *arguments)

        assert (finished.status, finished.stdout) == (2, "")
        assert hint in finished.stderr
        assert KEY not in finished.stderr
