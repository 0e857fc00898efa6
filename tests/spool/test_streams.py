"""
A spool of events for a stream: what is in it goes to a stream of that name, and nowhere else.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from hh_exporter import JetStream, Spool
from tests.conftest import BuildExporter, MakeExporter
from tests.spools import on_disk
from tests.support import assert_balanced, push_all, until

NOWHERE = "nats://127.0.0.1:1"
STREAM = JetStream(NOWHERE, subject="llm.events")


async def left_by(build_exporter: BuildExporter, directory: Path, **settings: Any) -> None:
    """
    Have an exporter leave two events in *directory*.
    """
    exporter = build_exporter(spool=Spool(directory), **settings)
    push_all(exporter, "e0", "e1")
    await exporter.aclose(0.0)
    assert on_disk(directory) == ["e0", "e1"]


@pytest.mark.parametrize(
    "other",
    [
        {"jetstream": STREAM},
        {"jetstream": JetStream("nats://127.0.0.1:2", subject="llm.events")},
        {"jetstream": JetStream(NOWHERE, subject="llm.events", user="app", password="p")},
        {"jetstream": STREAM, "api_key": "hh_another_key", "base_url": "http://127.0.0.1:9"},
        {"jetstream": STREAM, "api_key": None, "source": "production"},
    ],
    ids=["same", "servers", "user", "key", "no key"],
)
async def test_files_belong_to_subject_and_dialect(
    build_exporter: BuildExporter,
    make_exporter: MakeExporter,
    tmp_path: Path,
    other: dict[str, Any],
) -> None:
    """
    Servers move, and users change; the stream is the same, and takes what was left for it.
    """
    await left_by(build_exporter, tmp_path, jetstream=STREAM)

    exporter = await make_exporter(spool=tmp_path, **other)

    stats = assert_balanced(exporter)
    assert (stats.recovered, stats.stranded) == (2, 0)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ({"jetstream": STREAM}, {}, "address"),
        ({}, {"jetstream": STREAM}, "address"),
        ({"jetstream": STREAM}, {"jetstream": JetStream(NOWHERE, subject="other")}, "address"),
        ({"jetstream": STREAM}, {"jetstream": STREAM, "dialect": "v1"}, "dialect"),
    ],
    ids=["stream", "API", "subject", "dialect"],
)
@pytest.mark.parametrize("adopt", ["same_key", "any_key"])
async def test_files_of_another_are_left_alone(
    build_exporter: BuildExporter,
    make_exporter: MakeExporter,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    before: dict[str, Any],
    after: dict[str, Any],
    told: str,
    adopt: Any,
) -> None:
    """
    What waits for a stream is not sent to the API, nor the other way round; one warning says so.
    """
    await left_by(build_exporter, tmp_path, **before)
    caplog.clear()

    exporter = await make_exporter(spool=Spool(tmp_path, adopt=adopt), **after)
    await until(lambda: exporter.stats().stranded == 2)

    assert assert_balanced(exporter).recovered == 0
    assert on_disk(tmp_path) == ["e0", "e1"]
    [warning] = [r.message for r in caplog.records if r.levelno >= logging.WARNING]
    assert warning == (
        f"hh_exporter: the spool in {tmp_path} holds 2 events in 1 file of another {told}: "
        "hh-exporter spool --drain sends them where they belong"
    )
