"""
What may be said of a stream, and that no password shows.
"""

from __future__ import annotations

import ssl
import traceback
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from hh_exporter import ConfigError, Exporter, JetStream
from hh_exporter._settings.secret import Secret

SECRET = "hh_canary_7b1d"
SERVERS = (
    "servers must be nats:// or tls:// addresses without user, password or path, "
    "separated by commas"
)


@pytest.mark.parametrize(
    ("given", "servers", "endpoints"),
    [
        ("nats://n1", ["nats://n1"], [("n1", 4222, False)]),
        ("tls://n1:1", ["tls://n1:1"], [("n1", 1, True)]),
        (
            " nats://n1:1 ,, nats://n2/ ",
            ["nats://n1:1", "nats://n2/"],
            [("n1", 1, False), ("n2", 4222, False)],
        ),
        (
            ["nats://n1", "tls://[::1]:2"],
            ["nats://n1", "tls://[::1]:2"],
            [("n1", 4222, False), ("::1", 2, True)],
        ),
        ("NATS://Host:65535", ["NATS://Host:65535"], [("host", 65535, False)]),
    ],
)
def test_addresses(given: Any, servers: list[str], endpoints: list[Any]) -> None:
    """
    One or several, as a text or a sequence; without a port it is that of NATS.
    """
    stream = JetStream(given)

    assert stream.servers == tuple(servers)
    assert stream.endpoints == endpoints
    assert stream.address == ",".join(servers)


@pytest.mark.parametrize(
    "servers",
    [
        "",
        ",",
        [],
        "n1:4222",
        "http://n1",
        "ws://n1",
        "nats://",
        "nats://n1:0",
        "nats://n1:99999",
        "nats://n1:port",
        "nats://[::1",
        "nats://n 1",
        "nats://n1/path",
        "nats://n1,n2",
        f"nats://{SECRET}@n1",
        f"nats://user:{SECRET}@n1",
        f"nats://n1?token={SECRET}",
        f"nats://n1#{SECRET}",
        b"nats://n1",
        [b"nats://n1"],
        {"nats://n1"},
        5,
        None,
    ],
)
def test_a_bad_address_is_never_shown(servers: Any) -> None:
    """
    It may hold a password by mistake, so the error only says what it may be.
    """
    with pytest.raises(ConfigError) as caught:
        JetStream(servers)

    assert str(caught.value) == SERVERS


@pytest.mark.parametrize("subject", ["hh_exporter.events", "a", "A-1.b_2"])
def test_a_subject(subject: str) -> None:
    """
    Its parts are words; it stands for the stream where events wait on disk.
    """
    assert JetStream("nats://n1", subject=subject).place == f"jetstream:{subject}"


@pytest.mark.parametrize(
    "subject", ["", ".", "a.", ".a", "a..b", "a.*", "a.>", ">", "a b", "a\n", "$JS.API", "é", 5]
)
def test_a_bad_subject(subject: Any) -> None:
    """
    Wildcards, subjects of the server's own and what would break the protocol are refused.
    """
    with pytest.raises(ConfigError, match=r"^subject must be a subject without wildcards"):
        JetStream("nats://n1", subject=subject)


@pytest.mark.parametrize("size", [0, 5_000_001, True, 1.5, "1"])
def test_a_bad_size(size: Any) -> None:
    """
    An event is at most as large as the API takes it.
    """
    with pytest.raises(ConfigError, match=r"^max_event_bytes must be a whole number of bytes"):
        JetStream("nats://n1", max_event_bytes=size)

    assert JetStream("nats://n1", max_event_bytes=1).max_event_bytes == 1
    assert JetStream("nats://n1", max_event_bytes=5_000_000).max_event_bytes == 5_000_000


def test_a_user_has_a_password() -> None:
    """
    Or a file of credentials, and not both.
    """
    stream = JetStream("nats://n1", user="app", password=SECRET)

    assert stream.password == Secret(SECRET)
    assert evolve(stream, user="other").password == Secret(SECRET)
    halves: list[dict[str, Any]] = [{"user": "app"}, {"password": SECRET}]
    for half in halves:
        with pytest.raises(ConfigError, match=r"^user and password belong together: set both"):
            JetStream("nats://n1", **half)
    with pytest.raises(ConfigError, match=r"^set user and password, or credentials, and not both$"):
        JetStream("nats://n1", user="app", password=SECRET, credentials="/app.creds")


@pytest.mark.parametrize("password", ["", " ", 5, SECRET.encode()])
def test_a_bad_password_is_never_shown(password: Any) -> None:
    """
    The error only says that it is a text.
    """
    with pytest.raises(ConfigError, match=r"^password must be a text$"):
        JetStream("nats://n1", user="app", password=password)


def test_a_bad_user() -> None:
    """
    It is a text that is not blank.
    """
    with pytest.raises(ConfigError, match=r"^user must be a text, not ' '$"):
        JetStream("nats://n1", user=" ", password=SECRET)


def test_credentials_are_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Its path means the same in any working directory, and ~ is the home.
    """
    monkeypatch.setenv("HOME", "/home/me")

    def path_of(given: Any) -> Path | None:
        return JetStream("nats://n1", credentials=given).credentials

    assert path_of("~/app.creds") == Path("/home/me/app.creds")
    assert path_of(Path("app.creds")) == Path.cwd() / "app.creds"
    with pytest.raises(ConfigError, match=r"^credentials must be a file of credentials, not 5$"):
        path_of(5)


def test_a_context_is_one() -> None:
    """
    A path to certificates is none.
    """
    context = ssl.create_default_context()

    assert JetStream("tls://n1", ssl_context=context).ssl_context is context
    with pytest.raises(ConfigError, match=r"^ssl_context must be an ssl\.SSLContext"):
        JetStream("tls://n1", ssl_context="/ca.pem")  # type: ignore[arg-type]


def test_no_repr_shows_the_password() -> None:
    """
    A stream can be logged.
    """
    stream = JetStream("nats://n1", user="app", password=SECRET)

    assert SECRET not in f"{stream!r} {stream}"
    assert "app" in repr(stream)


def _mistake(**wrong: Any) -> str:
    """
    Make a stream wrongly, and show all that an error reporter would see of it below this frame.
    """
    try:
        JetStream("nats://n1", user="app", password=SECRET, **wrong)
    except (ConfigError, TypeError) as exc:
        return _reported(exc)
    raise AssertionError("it was no mistake")


def _reported(exc: Exception) -> str:
    assert exc.__cause__ is exc.__context__ is None
    frames = list(traceback.walk_tb(exc.__traceback__))[1:]
    assert frames
    return f"{exc!r} {[frame.f_locals for frame, _ in frames]}"


@pytest.mark.parametrize("wrong", [{"subject": "*"}, {"credentials": "/x"}, {"pasword": "x"}])
def test_no_error_holds_the_password(wrong: dict[str, Any]) -> None:
    """
    Error reporters keep the locals of frames.
    """
    assert SECRET not in _mistake(**wrong)


@pytest.mark.parametrize(
    ("given", "environ"),
    [
        ({"jetstream": f"nats://app:{SECRET}@n1"}, {}),
        ({"jetstream": [f"nats://app:{SECRET}@n1"]}, {}),
        ({"jetstream": "nats://n1"}, {"HH_EXPORTER_JETSTREAM_PASSWORD": SECRET}),
        ({}, {"HH_EXPORTER_JETSTREAM_SERVERS": f"nats://{SECRET}@n1"}),
        (
            {"jetstream": "nats://n1", "max_in_flight": 0},
            {"HH_EXPORTER_JETSTREAM_USER": "app", "HH_EXPORTER_JETSTREAM_PASSWORD": SECRET},
        ),
    ],
)
def test_no_error_of_an_exporter_holds_the_password(
    given: dict[str, Any], environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Whether it is an argument or a variable.
    """
    for name, value in environ.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(ConfigError) as caught:
        Exporter(**given)

    assert SECRET not in _reported(caught.value)


def test_two_that_say_the_same_are_equal() -> None:
    """
    However they say it.
    """
    one = JetStream("nats://a,nats://b", user="app", password=SECRET)
    other = JetStream(["nats://a", "nats://b"], user="app", password=Secret(SECRET))

    assert one == other
    assert hash(one) == hash(other)
