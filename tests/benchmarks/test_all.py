"""
All benchmarks make one report, which says what was found, where, and what failed.
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import orjson
import pytest
from attrs import evolve

from benchmarks import __main__ as every
from benchmarks import throughput
from benchmarks._race import Cost
from benchmarks._report import Report, Row, Table
from benchmarks._workload import generate_events

TOY = '''"""How much?"""

from benchmarks._command import answer
from benchmarks._report import Report

answer(
    __doc__,
    lambda events: Report(
        name="toy", question=__doc__, workload=f"{len(events)} events.", tables=[]
    ),
)
'''


@pytest.fixture(autouse=True)
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Add a benchmark that takes no time, and one that there is not.
    """
    folder = tmp_path / "benchmarks"
    folder.mkdir()
    (folder / "__init__.py").write_text(f"__path__.append({str(every.ROOT / 'benchmarks')!r})")
    (folder / "toy.py").write_text(TOY)
    monkeypatch.setattr(every, "ROOT", tmp_path)
    monkeypatch.setattr(every, "NAMES", ("absent", "toy"))


@pytest.fixture
def events(tmp_path: Path) -> Path:
    path = tmp_path / "events.jsonl.gz"
    path.write_bytes(gzip.compress(b"\n".join(map(orjson.dumps, generate_events(3)))))
    return path


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "report.md"


def make_report(**changes: Any) -> Report:
    rows = [
        Row(name="quick", figures=[1.0], at_most=2.0),
        Row(name="slow", figures=[3.0], at_most=2.0),
        Row(name="free", figures=[9.0]),
    ]
    table = Table(title="In a loop", setting="Twice.", figure="over the floor", rows=rows)
    report = Report(name="push", question="How much?", workload="7 events.", tables=[table])
    return evolve(report, **changes)


def test_a_benchmark_runs_on_the_events_that_are_named(events: Path, output: Path) -> None:
    """
    A benchmark named on the command line is run alone, and what it found is in the report.
    """
    assert every.main(["toy", "--events", str(events), "--output", str(output)]) == 0
    assert "\n## toy\n\nHow much?\n\n3 events.\n" in output.read_text()


def test_a_benchmark_that_fails_costs_no_other_its_part(events: Path, output: Path) -> None:
    """
    The report has all that succeeded and names what failed; the exit status is 1.
    """
    names = ["absent", "toy"]

    assert every.main([*names, "--events", str(events), "--output", str(output)]) == 1
    assert "**Failed:**\n\n- absent: exit status 1\n" in output.read_text()
    assert "\n## toy\n" in output.read_text()


def test_nothing_is_written_where_all_failed(output: Path) -> None:
    """
    A report of an earlier run is not replaced by an empty one.
    """
    assert every.main(["absent", "--output", str(output)]) == 1
    assert not output.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pusch"], "no such benchmark: pusch"),
        (["toy", "--plot", "x.svg"], "--plot needs the benchmark throughput"),
    ],
)
def test_a_wrong_call_runs_nothing(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    What cannot be done is said before anything is measured.
    """
    with pytest.raises(SystemExit, match="2"):
        every.main(arguments)

    assert message in capsys.readouterr().err


def test_the_summary_lists_targets_and_says_the_machine_once() -> None:
    """
    Targets are listed as missed or met; machine, date and versions stand at the top alone.
    """
    reports = [make_report(versions={"Python": "3", "a": "1"}), make_report(name="again")]

    shown = every.summarize(reports, {})

    assert "**Targets missed:**\n\n- push, In a loop: slow 3.00 (≤ 2: MISSED)\n" in shown
    assert "**Targets met:**\n\n- push, In a loop: quick 1.00 (≤ 2: met)\n" in shown
    assert "free 9" not in shown
    assert "Failed" not in shown
    assert shown.count(reports[0].machine) == 1
    assert shown.count(reports[0].date) == 1
    assert shown.index("## push") < shown.index("## again")


def test_the_picture_shows_each_client(tmp_path: Path) -> None:
    """
    The picture is drawn of the report of throughput alone, and the same one makes the same file.
    """
    pytest.importorskip("matplotlib", reason="needs the extra bench")
    from benchmarks._plot import draw

    variants = (throughput.LIMIT, throughput.EXPORTER, "OpenTelemetry", "LangSmith")
    costs = {name: [Cost(at, at, at)] for at, name in enumerate(variants, 1)}
    measured = throughput.Measured(latency=0.0, bare=costs, peers=costs)
    report = throughput.report(generate_events(3), [measured])
    paths = [tmp_path / "first.svg", tmp_path / "second.svg", tmp_path / "third.png"]

    for path in paths:
        draw(report, path)

    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert all(f"<!-- {name} -->" in paths[0].read_text() for name in variants[2:])
    assert paths[2].read_bytes().startswith(b"\x89PNG")
