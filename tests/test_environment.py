"""
Settings from arguments, the environment and defaults.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import attrs
import pytest

from hh_exporter import BatchLimits, ConfigError, JetStream, QueueLimits, RetryPolicy, Spool
from hh_exporter._environment import Settings, find_variable, read_settings, variables_of
from hh_exporter._settings.secret import Secret, hidden

SECRET = "hh_secret"

VARIABLES: dict[str, tuple[str, Any]] = {
    "HH_EXPORTER_API_KEY": ("hh_1", Secret("hh_1")),
    "HH_EXPORTER_BASE_URL": ("http://localhost:1", "http://localhost:1"),
    "HH_EXPORTER_DIALECT": ("v1", "v1"),
    "HH_EXPORTER_PROJECT": ("p", "p"),
    "HH_EXPORTER_SOURCE": ("s", "s"),
    "HH_EXPORTER_QUEUE_MAX_EVENTS": ("7", 7),
    "HH_EXPORTER_QUEUE_MAX_BYTES": ("8", 8),
    "HH_EXPORTER_QUEUE_OVERFLOW": ("drop_newest", "drop_newest"),
    "HH_EXPORTER_BATCH_MAX_EVENTS": ("9", 9),
    "HH_EXPORTER_BATCH_MAX_BYTES": ("10", 10),
    "HH_EXPORTER_BATCH_LINGER": ("0.5", 0.5),
    "HH_EXPORTER_RETRY_BASE": ("0.25", 0.25),
    "HH_EXPORTER_RETRY_FACTOR": ("3", 3.0),
    "HH_EXPORTER_RETRY_MAX_DELAY": ("11", 11.0),
    "HH_EXPORTER_RETRY_MAX_ELAPSED": ("12", 12.0),
    "HH_EXPORTER_RETRY_RETRY_AFTER_CAP": ("13", 13.0),
    "HH_EXPORTER_MAX_IN_FLIGHT": ("2", 2),
    "HH_EXPORTER_REQUEST_TIMEOUT": ("14", 14.0),
    "HH_EXPORTER_CLOSE_TIMEOUT": ("0", 0.0),
    "HH_EXPORTER_COMPRESSION": ("gzip", "gzip"),
    "HH_EXPORTER_HIDE_INPUTS": ("true", True),
    "HH_EXPORTER_HIDE_OUTPUTS": ("on", True),
    "HH_EXPORTER_SAMPLE_RATE": ("0.25", 0.25),
    "HH_EXPORTER_ON_AMBIGUOUS": ("resend", "resend"),
    "HH_EXPORTER_SPOOL_DIRECTORY": ("/spool", Path("/spool")),
    "HH_EXPORTER_SPOOL_DURABLE": ("true", True),
    "HH_EXPORTER_SPOOL_MAX_BYTES": ("15", 15),
    "HH_EXPORTER_SPOOL_MAX_AGE": ("16", 16.0),
    "HH_EXPORTER_SPOOL_ADOPT": ("any_key", "any_key"),
    "HH_EXPORTER_SPOOL_FSYNC": ("true", True),
    "HH_EXPORTER_JETSTREAM_SERVERS": (" nats://a, tls://b:1 ", ("nats://a", "tls://b:1")),
    "HH_EXPORTER_JETSTREAM_SUBJECT": ("llm.events", "llm.events"),
    "HH_EXPORTER_JETSTREAM_USER": ("app", "app"),
    "HH_EXPORTER_JETSTREAM_PASSWORD": ("hh_secret", Secret("hh_secret")),
    "HH_EXPORTER_JETSTREAM_CREDENTIALS": ("/app.creds", Path("/app.creds")),
    "HH_EXPORTER_JETSTREAM_MAX_EVENT_BYTES": ("17", 17),
    "HH_EXPORTER_ALSO": ("http://localhost:2", "http://localhost:2"),
    "HH_EXPORTER_DISABLED": ("yes", True),
}
"""Every scalar parameter: its variable, a text that is not its default, and its value."""

GROUPS: dict[str, type[Any]] = {
    "queue": QueueLimits,
    "batch": BatchLimits,
    "retry": RetryPolicy,
    "spool": Spool,
    "jetstream": JetStream,
}
SPOOL = {"HH_EXPORTER_SPOOL_DIRECTORY": "/elsewhere"}
"""Without a directory there is no spool, and nothing else of it is looked at."""
STREAM = {"HH_EXPORTER_JETSTREAM_SERVERS": "nats://elsewhere"}
"""The same of a stream."""
NEEDS = {"spool": SPOOL, "jetstream": STREAM}
ALSO_NEEDS = {
    "jetstream.user": {"HH_EXPORTER_JETSTREAM_PASSWORD": SECRET},
    "jetstream.password": {"HH_EXPORTER_JETSTREAM_USER": "me"},
}
"""Without the other one, either is an error."""
OBJECTS = {"wait", "ssl_context", "before_send", "on_outcome"}
"""Parameters that have no form as text."""


def scalars(owner: type[Any], prefix: str) -> dict[str, str]:
    """
    Name the variable of each field that is no group, by the field's path.
    """
    found: dict[str, str] = {}
    for name in (a.name for a in attrs.fields(owner)):
        path = f"{prefix}_{name}".upper()
        if name in GROUPS:
            found |= {f"{name}.{k}": v for k, v in scalars(GROUPS[name], path).items()}
        elif name not in OBJECTS:
            found[name] = path
    return found


def value_at(settings: Settings, path: str) -> Any:
    value: Any = settings
    for name in path.split("."):
        value = getattr(value, name)
    return value


def test_every_scalar_has_its_variable() -> None:
    """
    A new parameter is one that the environment can set, under a documented name.
    """
    assert set(scalars(Settings, "HH_EXPORTER").values()) == set(VARIABLES)
    assert {a.name for a in attrs.fields(Settings)} - set(GROUPS) - OBJECTS == set(
        variables_of(Settings)
    )


@pytest.mark.parametrize("path", scalars(Settings, "HH_EXPORTER"))
def test_a_variable_sets_its_parameter_alone(path: str) -> None:
    """
    It is read, differs from the default, and leaves all else as it was.
    """
    variable = scalars(Settings, "HH_EXPORTER")[path]
    given, expected = VARIABLES[variable]

    group = path.partition(".")[0]
    before = NEEDS.get(group, {})
    after = before | {variable: given} | ALSO_NEEDS.get(path, {})
    settings, default = read_settings({}, after), read_settings({}, before)

    assert value_at(settings, path) == expected
    assert type(value_at(settings, path)) is type(expected)
    both = {"jetstream.user", "jetstream.password"}
    changed = both if path in both else {path}
    for other in scalars(Settings, ""):
        if other.partition(".")[0] in {group, *GROUPS.keys() - NEEDS} or "." not in other:
            same = value_at(settings, other) == value_at(default, other)
            assert same == (other not in changed), other


def test_a_spool_needs_its_directory() -> None:
    """
    A directory alone makes one, given as an argument or not; nothing else does.
    """
    durable = {"HH_EXPORTER_SPOOL_DURABLE": "true"}

    assert read_settings({}, durable).spool is None
    assert read_settings({}, SPOOL).spool == Spool("/elsewhere")
    assert read_settings({"spool": "/here"}, SPOOL | durable).spool == Spool("/here", durable=True)
    assert read_settings({"spool": Spool("/here")}, durable).spool == Spool("/here")
    with pytest.raises(ConfigError, match="spool must be a Spool or a directory"):
        read_settings({"spool": 5}, {})


def test_a_stream_needs_its_servers() -> None:
    """
    Addresses alone make one, given as an argument or not; nothing else does.
    """
    subject = {"HH_EXPORTER_JETSTREAM_SUBJECT": "llm.events", "HH_EXPORTER_JETSTREAM_USER": "me"}
    own = {"HH_EXPORTER_JETSTREAM_SUBJECT": "llm.events"}

    assert read_settings({}, subject).jetstream is None
    assert read_settings({}, STREAM).jetstream == JetStream("nats://elsewhere")
    for servers in ("nats://a, nats://b", ["nats://a", "nats://b"], ("nats://a", "nats://b")):
        expected = JetStream("nats://a,nats://b", subject="llm.events")
        assert read_settings({"jetstream": servers}, STREAM | own).jetstream == expected
    whole = JetStream("nats://a")
    assert read_settings({"jetstream": whole}, STREAM | own).jetstream is whole
    for wrong in (5, {"servers": "nats://a"}):
        with pytest.raises(ConfigError, match="jetstream must be a JetStream or addresses of its"):
            read_settings({"jetstream": wrong}, {})


def test_an_address_that_is_an_argument_outranks_a_stream_of_the_environment() -> None:
    """
    Arguments come first; among arguments the stream does.
    """
    url = {"base_url": "http://localhost:1"}

    assert read_settings(dict(url), STREAM).address == "http://localhost:1"
    assert read_settings({**url, "jetstream": "nats://a"}, {}).address == "nats://a"
    assert read_settings({}, STREAM | {"HH_API_URL": "http://b"}).address == "nats://elsewhere"
    assert read_settings({}, STREAM, by_http=True).jetstream is None


def test_a_stream_needs_no_key(caplog: pytest.LogCaptureFixture) -> None:
    """
    It is sent to without one, and nothing is said of one that can't be used, nor of plain http.
    """
    given = {"jetstream": "nats://a,tls://b:1", "base_url": "http://host", "api_key": "eyJhbGci"}
    settings = read_settings(dict(given), {})
    settings.warn()

    assert settings.disabled_reason == ""
    assert read_settings({"jetstream": "nats://a"}, {}).disabled_reason == ""
    assert "disabled" in attrs.evolve(settings, disabled=True).disabled_reason
    assert settings.address == "nats://a,tls://b:1"
    assert not settings.exposes_key
    assert not settings.needs_trust
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("servers", "is_exposed"),
    [
        ("nats://n1", True),
        ("tls://n1,nats://n2", True),
        ("tls://n1,tls://n2", False),
        ("nats://127.0.0.1,nats://localhost:1,nats://[::1]", False),
    ],
)
def test_a_password_in_the_clear_is_told(
    servers: str, is_exposed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Like a key by plain http: unless it stays on this machine, or nothing secret is sent.
    """
    stream = JetStream(servers, user="app", password=SECRET)
    said = (
        f"hh_exporter: {servers} is plain text, unless the server demands TLS: "
        "the password crosses the network unencrypted"
    )

    Settings(jetstream=stream).warn()
    assert caplog.messages == ([said] if is_exposed else [])

    caplog.clear()
    context = ssl.create_default_context()
    Settings(jetstream=attrs.evolve(stream, ssl_context=context)).warn()
    Settings(jetstream=JetStream(servers, credentials="/app.creds")).warn()
    assert caplog.messages == []


def test_a_copy_goes_by_http() -> None:
    """
    To any address, also the one to which nothing else goes then.
    """
    also = "https://api.dp1.us.honeyhive.ai"

    settings = read_settings({"jetstream": "nats://a", "also": also}, {})

    assert settings.copies_to == also
    assert settings.needs_trust
    assert read_settings({"also": also}, {}).copies_to is None


def test_what_is_for_http_alone_is_refused_beside_a_stream() -> None:
    """
    The error says what to do instead.
    """
    stream, context = {"jetstream": "nats://a"}, ssl.create_default_context()

    with pytest.raises(ConfigError, match=r"leave it out \(HH_EXPORTER_COMPRESSION\)$"):
        read_settings(stream | {"compression": "gzip"}, {})
    with pytest.raises(ConfigError, match=r"leave it out \(HH_EXPORTER_COMPRESSION\)$"):
        read_settings({}, STREAM | {"HH_EXPORTER_COMPRESSION": "gzip"})
    with pytest.raises(ConfigError, match="give JetStream its ssl_context"):
        read_settings(stream | {"ssl_context": context}, {})
    copied = stream | {"ssl_context": context, "also": "https://host"}
    assert read_settings(copied, {}).ssl_context is context


def test_a_spool_may_be_in_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A ~ is the home, in an argument and in the environment; one that is unknown is an error.
    """
    monkeypatch.setenv("HOME", "/home/me")
    variable = "HH_EXPORTER_SPOOL_DIRECTORY"

    assert Spool("~/events").directory == Path("/home/me/events")
    assert read_settings({}, {variable: "~/events"}).spool == Spool("/home/me/events")
    for value in ("~no-such-user/events", Path("~no-such-user/events")):
        with pytest.raises(ConfigError, match=r"^directory must be a directory, not '~no-such"):
            Spool(value)
    with pytest.raises(ConfigError, match=rf"^{variable} must be a directory, not '~no-such"):
        read_settings({}, {variable: "~no-such-user/events"})


def test_a_relative_directory_keeps_its_meaning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Whatever becomes the working directory later.
    """
    monkeypatch.chdir(tmp_path)
    named = [
        Spool("events"),
        read_settings({"spool": Path("events")}, {}).spool,
        read_settings({}, {"HH_EXPORTER_SPOOL_DIRECTORY": "events"}).spool,
    ]

    assert named == [Spool(tmp_path / "events")] * 3


def test_a_directory_that_means_nothing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A relative one can't be found where the working directory is gone.
    """
    monkeypatch.chdir(tmp_path)
    tmp_path.rmdir()
    with pytest.raises(ConfigError, match=r"^directory must be a directory, not 'events'"):
        Spool("events")


def test_without_anything_the_defaults_stand() -> None:
    """
    Foreign variables, those with a name much like ours included, change nothing.
    """
    assert (
        read_settings({}, {"HH_EXPORTER": "x", "HH_EXPORTER_": "x", "API_KEY": "x"}) == Settings()
    )


@pytest.mark.parametrize(
    ("name", "variables"),
    [
        (
            "api_key",
            ["HH_EXPORTER_API_KEY", "HH_INGESTION_API_KEY", "HH_PROJECT_API_KEY", "HH_API_KEY"],
        ),
        ("base_url", ["HH_EXPORTER_BASE_URL", "HH_DATA_PLANE_URL", "HH_API_URL"]),
        ("project", ["HH_EXPORTER_PROJECT", "HH_PROJECT"]),
        ("source", ["HH_EXPORTER_SOURCE", "HH_SOURCE"]),
        ("request_timeout", ["HH_EXPORTER_REQUEST_TIMEOUT", "HH_API_TIMEOUT"]),
    ],
)
def test_the_first_of_several_wins(name: str, variables: list[str]) -> None:
    """
    An argument, our variable, the vendor's in their order, then the default.
    """
    is_number = name == "request_timeout"

    def make(n: int) -> Any:
        text = f"http://host{n}"
        return float(n) if is_number else hidden(text) if name == "api_key" else text

    shown = str if is_number else lambda n: f"http://host{n}"
    environ = {variable: shown(n) for n, variable in enumerate(variables, 1)}

    assert getattr(read_settings({name: make(9)}, environ), name) == make(9)
    for n, variable in enumerate(variables, 1):
        assert getattr(read_settings({}, environ), name) == make(n)
        del environ[variable]
    assert getattr(read_settings({}, environ), name) == getattr(Settings(), name)


def test_the_variable_that_counts_is_found() -> None:
    """
    It is the first one that is set and not blank, as for reading.
    """
    variables = variables_of(Settings)["base_url"]
    environ = {"HH_EXPORTER_BASE_URL": " ", "HH_API_URL": "http://b"}

    assert find_variable(variables, environ) == "HH_API_URL"
    newer = environ | {"HH_DATA_PLANE_URL": "http://a"}
    assert find_variable(variables, newer) == "HH_DATA_PLANE_URL"
    assert find_variable(variables, {"HH_API_KEY": "hh_1"}) is None


def test_blank_is_unset() -> None:
    """
    A blank variable or argument leaves the turn to the next.
    """
    environ = dict.fromkeys(VARIABLES, " ") | {"HH_INGESTION_API_KEY": "", "HH_API_KEY": "hh_1"}

    settings = read_settings({"api_key": "\t", "project": "", "source": None}, environ)

    assert settings == Settings(api_key="hh_1")


def test_texts_are_trimmed() -> None:
    """
    A line break behind a key, as a secret in a file has it, is no part of it.
    """
    assert read_settings({}, {"HH_API_KEY": " hh_1\n"}).api_key == Secret("hh_1")
    assert read_settings({"api_key": "hh_1\n", "project": " p "}, {}) == Settings(
        api_key="hh_1", project="p"
    )


def test_false_and_zero_are_arguments() -> None:
    """
    They are given, unlike None, and win over the environment.
    """
    environ = {"HH_EXPORTER_DISABLED": "1", "HH_EXPORTER_CLOSE_TIMEOUT": "9"}

    settings = read_settings({"disabled": False, "close_timeout": 0}, environ)

    assert (settings.disabled, settings.close_timeout) == (False, 0)


def test_a_group_is_given_whole() -> None:
    """
    The environment adds nothing to a group that is an argument.
    """
    environ = {"HH_EXPORTER_BATCH_MAX_EVENTS": "9", "HH_EXPORTER_QUEUE_MAX_EVENTS": "7"}

    settings = read_settings({"batch": BatchLimits(linger=3)}, environ)

    assert settings.batch == BatchLimits(linger=3)
    assert settings.queue == QueueLimits(max_events=7)


@pytest.mark.parametrize("name", GROUPS)
def test_a_group_is_one_of_ours(name: str) -> None:
    """
    Anything else is refused by name and by what it may be.
    """
    with pytest.raises(ConfigError, match=f"{name} must be a {GROUPS[name].__name__}"):
        read_settings({name: {"max_events": 1}}, {})


@pytest.mark.parametrize(
    ("variable", "given", "shape"),
    [
        ("HH_EXPORTER_MAX_IN_FLIGHT", "0", "a whole number from 1"),
        ("HH_EXPORTER_BATCH_MAX_BYTES", "6000000", "of bytes from 1 to 5000000"),
        ("HH_EXPORTER_BATCH_LINGER", "1s", "a number of seconds from 0"),
        ("HH_EXPORTER_QUEUE_OVERFLOW", "block", '"drop_oldest" or "drop_newest"'),
        ("HH_EXPORTER_RETRY_FACTOR", "0.5", "a number from 1"),
        ("HH_EXPORTER_DISABLED", "maybe", "true or false"),
        ("HH_API_TIMEOUT", "5000ms", "a number of seconds above 0"),
    ],
)
def test_a_bad_variable_is_named(variable: str, given: str, shape: str) -> None:
    """
    The error says which variable it is, what it may be, and what it was.
    """
    with pytest.raises(ConfigError) as caught:
        read_settings({}, {variable: given})

    assert str(caught.value).startswith(f"{variable} must be ")
    assert shape in str(caught.value)
    assert given in str(caught.value)


def test_a_bad_argument_is_named() -> None:
    """
    The error says which argument it is and what it may be.
    """
    with pytest.raises(ConfigError, match="max_in_flight must be a whole number from 1, not 0"):
        read_settings({"max_in_flight": 0}, {})


def test_what_an_argument_overrules_is_not_read() -> None:
    """
    A bad variable does no harm where nobody asks for it.
    """
    environ = {"HH_API_TIMEOUT": "5s", "HH_EXPORTER_PROJECT": "p", "HH_API_KEY": "a b"}

    settings = read_settings({"request_timeout": 3.0, "api_key": "hh_1"}, environ)

    assert settings == Settings(request_timeout=3.0, api_key="hh_1", project="p")


@pytest.mark.parametrize("key", [f"{SECRET} x", f"{SECRET}\n{SECRET}", f"{SECRET}é", f"{SECRET}\0"])
def test_a_bad_key_is_never_shown(key: str) -> None:
    """
    A key that no header can hold is refused without a word of it.
    """
    for given, environ in [({"api_key": key}, {}), ({}, {"HH_API_KEY": key})]:
        with pytest.raises(ConfigError, match=r"must be a key of visible ASCII") as caught:
            read_settings(given, environ)
        assert SECRET not in str(caught.value)


def test_no_repr_shows_the_key() -> None:
    """
    Settings can be logged.
    """
    assert SECRET not in repr(read_settings({"api_key": SECRET}, {}))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("https://api.honeyhive.ai", "https://api.honeyhive.ai"),
        ("https://host/", "https://host"),
        (" https://host/prefix// ", "https://host/prefix"),
        ("http://localhost:8080/", "http://localhost:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("HTTPS://Host", "HTTPS://Host"),
    ],
)
def test_an_address_loses_its_last_slash(given: str, expected: str) -> None:
    """
    Paths are appended to it, below a prefix too.
    """
    assert read_settings({"base_url": given}, {}).base_url == expected
    assert read_settings({}, {"HH_API_URL": given}).base_url == expected


@pytest.mark.parametrize(
    "url",
    [
        "api.honeyhive.ai",
        "ftp://host",
        "https://",
        "https:///path",
        "https://host:port",
        "https://host:99999",
        "https://host:0",
        "https://[::1",
        "https://ho st",
        "https://host/a\nb",
        f"https://{SECRET}@host",
        f"https://user:{SECRET}@host",
        f"https://:{SECRET}@host",
        f"https://host?key={SECRET}",
        f"https://host#{SECRET}",
        5,
        b"https://host",
    ],
)
def test_a_bad_address_is_never_shown(url: Any) -> None:
    """
    It may hold a password by mistake, so the error only says what it may be.
    """
    with pytest.raises(ConfigError) as caught:
        read_settings({"base_url": url}, {})

    assert str(caught.value) == (
        "base_url must be an http:// or https:// address without user, password, query or fragment"
    )


@pytest.mark.parametrize(
    ("host", "is_loopback"),
    [
        ("localhost", True),
        ("LOCALHOST:8080", True),
        ("api.localhost", True),
        ("localhost.", True),
        ("127.0.0.1", True),
        ("127.255.255.254:80", True),
        ("[::1]:8080", True),
        ("127.example.com", False),
        ("127.0.0.1.example.com", False),
        ("localhost.example.com", False),
        ("notlocalhost", False),
        ("128.0.0.1", False),
        ("0.0.0.0", False),
        ("10.0.0.1", False),
        ("[::2]", False),
        ("api.honeyhive.ai", False),
    ],
)
def test_this_machine_is_told_from_others(host: str, is_loopback: bool) -> None:
    """
    Only a loopback address needs no key and keeps a key on this machine.
    """
    plain = Settings(base_url=f"http://{host}", api_key="hh_1")

    assert plain.is_loopback == is_loopback
    assert plain.exposes_key != is_loopback
    assert not attrs.evolve(plain, api_key=None).exposes_key
    assert not attrs.evolve(plain, base_url=f"https://{host}").exposes_key


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (Settings(api_key="hh_1"), ""),
        (Settings(base_url="http://localhost"), ""),
        (Settings(), "HH_API_KEY"),
        (Settings(base_url="http://host"), "HH_API_KEY"),
        (Settings(api_key="hh_1", disabled=True), "disabled"),
    ],
)
def test_without_a_key_nothing_can_be_sent(settings: Settings, reason: str) -> None:
    """
    Unless the server is on this machine; the reason says what to set.
    """
    assert bool(settings.disabled_reason) == bool(reason)
    assert reason in settings.disabled_reason
