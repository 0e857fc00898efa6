"""
`hh-exporter spool --adopt`: files of another key are handed over to the one in use.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hh_exporter._spool.file import SpoolFile
from hh_exporter._spool.kept import Identity
from tests.command import Finished, call, run
from tests.scripted_server import ScriptedServer
from tests.spools import KEY, contents, leave

OLD_KEY = "hh_old_key"
URL = "https://api.example"
ELSEWHERE = "https://elsewhere.example"


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HH_API_KEY", KEY)
    monkeypatch.setenv("HH_API_URL", URL)


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    """
    A spool with two files of another key, and others that are not to be handed over.
    """
    leave(tmp_path / "aaaa11.spool", URL, records=["a", "b"], letters=["c"], api_key=OLD_KEY)
    leave(tmp_path / "bbbb22.spool", URL, letters=["d"], api_key=None)
    leave(tmp_path / "mine33.spool", URL, records=["mine"])
    return tmp_path


def adopt(spool: Path, *arguments: str) -> Finished:
    return call("spool", str(spool), "--adopt", *arguments)


def keys_of(spool: Path) -> dict[str, str]:
    """
    Say which key each file is of.
    """
    found = {}
    for path in sorted(spool.glob("*.spool")):
        for key in (KEY, OLD_KEY, ""):
            for url in (URL, ELSEWHERE):
                for dialect in ("legacy", "v1"):
                    identity = Identity(base_url=url, dialect=dialect, api_key=key or None)
                    file = SpoolFile.adopt(path, identity)
                    if file is not None:
                        found[path.stem[:4]] = key
                        file.close(remove_empty=False)
    return found


def test_files_of_other_keys_are_handed_over(spool: Path) -> None:
    """
    All that they hold is of the new key then, dead letters too, and nothing is changed in it.
    """
    before = contents(spool)
    finished = adopt(spool, "--yes")

    assert finished.status == 0
    assert finished.stdout == "handed over 2 records and 2 dead letters in 2 files\n"
    assert keys_of(spool) == {"aaaa": KEY, "bbbb": KEY, "mine": KEY}
    assert contents(spool) == before
    assert adopt(spool, "--yes").stdout == "handed over 0 records and 0 dead letters in 0 files\n"


@pytest.mark.parametrize(
    ("answer", "key", "code"), [("y", KEY, 0), ("n", OLD_KEY, 1), ("", OLD_KEY, 1)]
)
async def test_the_user_is_asked_first(spool: Path, answer: str, key: str, code: int) -> None:
    """
    The question says how much it is and where it will go.
    """
    finished = await run("spool", str(spool), "--adopt", stdin=f"{answer}\n".encode())

    assert finished.status == code
    assert (
        "Hand 2 records and 2 dead letters in 2 files over to the key in use, whose project gets "
        f"them, at {URL}? [y/N]"
    ) in finished.stderr
    assert keys_of(spool)["aaaa"] == key
    assert KEY not in finished.stdout + finished.stderr


@pytest.mark.parametrize(
    ("url", "dialect", "why"),
    [
        (ELSEWHERE, "legacy", f"to another address, choose it with --url {ELSEWHERE}"),
        (ELSEWHERE, "v1", f"to another address, choose it with --url {ELSEWHERE} --dialect v1"),
        (URL, "v1", f"made for another dialect, choose it with --url {URL} --dialect v1"),
    ],
)
def test_nothing_is_sent_elsewhere(spool: Path, url: str, dialect: str, why: str) -> None:
    """
    What was made for another address or dialect keeps its key, unless that one is chosen.
    """
    leave(spool / "cccc33.spool", url, records=["x"], dialect=dialect, api_key=OLD_KEY)
    finished = adopt(spool, "--yes", "--json")

    assert finished.status == 1
    assert why in finished.stderr
    assert json.loads(finished.stdout) == {
        "files": 2,
        "records": 2,
        "dead_letters": 2,
        "held": [],
        "others": ["cccc33.spool"],
        "unreadable": [],
    }
    assert keys_of(spool)["cccc"] == OLD_KEY
    adopt(spool, "--yes", "--url", url, "--dialect", dialect)
    assert keys_of(spool)["cccc"] == KEY


def test_what_a_running_process_holds_is_left_to_it(spool: Path) -> None:
    """
    A file that is held is named and stays as it is.
    """
    holder = SpoolFile.adopt(spool / "aaaa11.spool", None)
    assert holder is not None
    finished = adopt(spool, "--yes", "--json")
    holder.close()

    assert finished.status == 1
    assert "aaaa11.spool is skipped: a running process holds it" in finished.stderr
    assert json.loads(finished.stdout)["held"] == ["aaaa11.spool"]
    assert keys_of(spool) == {"aaaa": OLD_KEY, "bbbb": KEY, "mine": KEY}


@pytest.mark.parametrize("arguments", [["--drain", "--adopt"], ["--adopt", "--dialect", "v7"]])
def test_a_wrong_call_changes_nothing(spool: Path, arguments: list[str]) -> None:
    """
    A wrong call is refused with status 2.
    """
    assert call("spool", str(spool), "--yes", *arguments).status == 2
    assert keys_of(spool)["aaaa"] == OLD_KEY


def test_without_a_key_nothing_is_handed_over(spool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A key is needed, as for everything that sends.
    """
    monkeypatch.delenv("HH_API_KEY")
    finished = adopt(spool, "--yes")

    assert finished.status == 2
    assert "there is no API key" in finished.stderr


async def test_what_was_handed_over_is_delivered(tmp_path: Path, server: ScriptedServer) -> None:
    """
    After a rotation: adopt, then drain with the new key.
    """
    leave(tmp_path / "aaaa11.spool", server.url, records=["a", "b"], api_key=OLD_KEY)
    refused = await run("spool", str(tmp_path), "--drain", HH_API_URL=server.url)
    adopted = await run("spool", str(tmp_path), "--adopt", "--yes", HH_API_URL=server.url)
    finished = await run("spool", str(tmp_path), "--drain", "--json", HH_API_URL=server.url)

    assert (refused.status, adopted.status, finished.status) == (1, 0, 0)
    assert json.loads(finished.stdout)["delivered"] == 2
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
