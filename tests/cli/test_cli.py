"""
The command line as a whole: its names, its help, and what it needs.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hh_exporter import __version__
from tests.command import call, run

ROOT = Path(__file__).parents[2]
COMMANDS = ("demo", "send", "check", "collect", "dead-letters", "spool", "relay", "fleet")
SUBCOMMANDS = ("dead-letters list", "dead-letters show", "dead-letters purge")


async def test_the_package_runs_as_a_module() -> None:
    """
    `python -m hh_exporter` is the command, under the command's name.
    """
    finished = await run("--version")

    assert finished.status == 0
    assert finished.stdout == f"hh-exporter {__version__}\n"
    assert finished.stderr == ""


def test_help_names_every_command() -> None:
    """
    The help of the group has a line for each command.
    """
    finished = call("--help")

    assert finished.status == 0
    for command in COMMANDS:
        assert f"\n  {command} " in finished.stdout


@pytest.mark.parametrize("command", [*COMMANDS, *SUBCOMMANDS])
def test_help_of_a_command_fits_a_narrow_terminal(
    monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """
    No line of a command's help is wider than 80 columns.
    """
    monkeypatch.setenv("COLUMNS", "80")
    finished = call(*command.split(), "-h")

    assert finished.status == 0
    assert max(map(len, finished.stdout.splitlines())) <= 80


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["demo", "--nonsense"],
        ["demo", "--dialect", "v2"],
        ["send", "--url"],
        ["send", "--dialect", "v2"],
        ["check", "unexpected"],
        ["dead-letters", "nonsense"],
        ["dead-letters", "show"],
    ],
)
def test_a_wrong_call_ends_with_2(arguments: list[str]) -> None:
    """
    What is no command or option ends with status 2 before anything is done.
    """
    assert call(*arguments).status == 2


@pytest.mark.parametrize("library", ["click", "rich"])
def test_without_its_extra_it_says_what_to_install(library: str) -> None:
    """
    Where click or rich is missing, one sentence names the extra, with status 2.
    """
    code = f"import sys; sys.modules[{library!r}] = None\n"
    code += "from hh_exporter.__main__ import main; main()"
    finished = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert finished.returncode == 2
    assert finished.stdout == ""
    assert finished.stderr.count("\n") == 1
    assert "pip install '.[cli]'" in finished.stderr


@pytest.mark.parametrize("command", ["relay", "fleet"])
def test_without_a_client_of_nats_only_a_fleet_can_not_be_reached(command: str) -> None:
    """
    Where nats-py is missing, all other commands work, and these name the extra, with status 2.
    """
    code = "import sys; sys.modules['nats'] = sys.modules['nats.aio.client'] = None\n"
    code += "from hh_exporter.__main__ import main; main()"

    def run_it(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", code, *arguments],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )

    finished = run_it(command, "--servers", "nats://127.0.0.1:1")

    assert run_it("--help").returncode == 0
    assert (finished.returncode, finished.stdout) == (2, "")
    assert finished.stderr == (
        "Error: jetstream needs nats-py, which the extra 'jetstream' of hh_exporter installs\n"
    )


def test_another_missing_module_is_not_blamed_on_the_extra() -> None:
    """
    A broken installation shows which module is missing.
    """
    code = "import sys; sys.modules['orjson'] = None\n"
    code += "from hh_exporter.__main__ import main; main()"
    finished = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert finished.returncode == 1
    assert "orjson" in finished.stderr
    assert "[cli]" not in finished.stderr
