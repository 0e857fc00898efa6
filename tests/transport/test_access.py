"""
What a stream asks of this machine is checked when an exporter is made, and again when it connects.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from hh_exporter import ConfigError, Exporter, JetStream
from hh_exporter._clock import NEVER, SystemClock
from hh_exporter._transport.cluster import Connector
from hh_exporter._transport.refusals import NoConnection
from tests.life.test_forks import forked
from tests.support import model_event

CREDENTIALS = """\
-----BEGIN NATS USER JWT-----
token
------END NATS USER JWT------

-----BEGIN USER NKEY SEED-----
canary
------END USER NKEY SEED------
"""
NOWHERE = "nats://127.0.0.1:1"


def run(code: str, *missing: str) -> str:
    """
    Run a program where the modules *missing* are, and return what it prints.
    """
    hide = "".join(f"sys.modules[{name!r}] = None\n" for name in missing)
    program = f"import sys\n{hide}{dedent(code)}"
    finished = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.strip()


def test_the_client_is_imported_for_a_stream_alone() -> None:
    """
    Neither the import of the package nor an exporter without one loads it.
    """
    seen = run(
        """
        from hh_exporter import Exporter, JetStream, ModelEvent

        exporter = Exporter(base_url="http://127.0.0.1:1", spool=None)
        exporter.push(ModelEvent(model="m"))
        Exporter(jetstream=JetStream("nats://127.0.0.1:1"), disabled=True)
        print("nats" in sys.modules)
        Exporter(jetstream=JetStream("nats://127.0.0.1:1"))
        print("nats" in sys.modules)
        """
    )

    assert seen.split() == ["False", "True"]


def test_a_missing_client_is_told_when_the_exporter_is_made() -> None:
    """
    The error names the extra; a disabled exporter needs none.
    """
    said = run(
        """
        from hh_exporter import ConfigError, Exporter

        Exporter(jetstream="nats://127.0.0.1:1", disabled=True)
        try:
            Exporter(jetstream="nats://127.0.0.1:1")
        except ConfigError as exc:
            print(exc, exc.__cause__, exc.__context__)
        """,
        "nats",
    )

    assert said == (
        "jetstream needs nats-py, which the extra 'jetstream' of hh_exporter installs None None"
    )


def test_missing_nkeys_are_told_of_credentials_alone(tmp_path: Path) -> None:
    """
    Without credentials nothing needs them.
    """
    path = tmp_path / "app.creds"
    path.write_text(CREDENTIALS)

    said = run(
        f"""
        from hh_exporter import ConfigError, Exporter, JetStream

        Exporter(jetstream=JetStream("nats://127.0.0.1:1", user="a", password="b"))
        try:
            Exporter(jetstream=JetStream("nats://127.0.0.1:1", credentials={str(path)!r}))
        except ConfigError as exc:
            print(exc)
        """,
        "nkeys",
    )

    assert said == "credentials need nkeys, which the extra 'jetstream' of hh_exporter installs"


def test_credentials_that_can_not_be_read_are_told(tmp_path: Path) -> None:
    """
    When the exporter is made, unless it is disabled; the error names the file, and why.
    """
    missing = JetStream(NOWHERE, credentials=tmp_path / "app.creds")

    with pytest.raises(ConfigError) as caught:
        Exporter(jetstream=missing)
    assert str(caught.value) == (
        f"credentials can't be read: {missing.credentials} (no such file or directory)"
    )
    with pytest.raises(ConfigError, match=r"\(is a directory\)$"):
        Exporter(jetstream=JetStream(NOWHERE, credentials=tmp_path))
    Exporter(jetstream=missing, disabled=True)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"canary",
        b"\xff canary",
        CREDENTIALS.replace("JWT", "").encode(),
        CREDENTIALS.replace("SEED", "").encode(),
    ],
)
def test_a_file_that_holds_no_credentials_is_told(tmp_path: Path, content: bytes) -> None:
    """
    The error names it, and shows nothing of it.
    """
    path = tmp_path / "app.creds"
    path.write_bytes(content)

    with pytest.raises(ConfigError) as caught:
        Exporter(jetstream=JetStream(NOWHERE, credentials=path))

    assert str(caught.value) == (
        f"credentials must be a file with a user's token and key, not {path}"
    )


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
async def test_credentials_that_are_gone_break_no_forked_child(tmp_path: Path) -> None:
    """
    Its exporter is made anew all the same, and takes events.
    """
    path = tmp_path / "app.creds"
    path.write_text(CREDENTIALS)
    exporter = Exporter(jetstream=JetStream(NOWHERE, credentials=path))
    path.unlink()

    def child() -> tuple[bool, int]:
        return exporter.push(model_event()), exporter.stats().queued

    assert exporter.push(model_event())
    assert await forked(child) == [True, 1]
    await exporter.aclose(0.0)


async def test_credentials_that_are_gone_refuse_a_connection(tmp_path: Path) -> None:
    """
    They are read for each connection; one without them is refused as a wrong password is.
    """
    path = tmp_path / "app.creds"
    path.write_text(CREDENTIALS)
    stream = JetStream(NOWHERE, credentials=path)
    Exporter(jetstream=stream)
    connector = Connector(access=stream, role="app", clock=SystemClock())

    path.unlink()
    with pytest.raises(NoConnection) as caught:
        await connector.open(NEVER)

    assert caught.value.is_refused
    assert caught.value.reason == (f"credentials can't be read: {path} (no such file or directory)")
