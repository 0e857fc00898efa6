"""
The benchmark of far servers runs end to end, and its servers behave as it says.

What it measured is not looked at: it depends on the machine.
"""

from __future__ import annotations

import asyncio
import csv
import urllib.error
import urllib.request
from pathlib import Path
from statistics import fmean, pstdev

import pytest
from attrs import evolve

from benchmarks import far
from benchmarks._conduct import Conduct, Manners
from benchmarks._distant import Acknowledged, Noted, running_distant
from benchmarks._offering import Client, Load, Offered, offer
from benchmarks._offers import judge, make_offer
from benchmarks._peers import PEERS, Peer
from benchmarks._workload import Fields, generate_events
from hh_exporter import BatchLimits

# These run programs for some seconds: where the benchmarks themselves are run.
pytest.importorskip("matplotlib", reason="needs the extra bench")

FEW = 20
"""Events of a load."""
NEAR = far.Scenario(conduct=Conduct(delay=0.005), rate=200, seconds=0.1, share=100.0, time=99.0)
EMITTERS = [peer for peer in PEERS if peer.open is not None]
# Past any proxy of the environment.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@pytest.fixture
def events() -> list[Fields]:
    return generate_events(FEW)


def load_of(events: list[Fields], *, patience: float = 30.0) -> Load:
    return Load(events=events, rate=200, seconds=0.1, patience=patience)


# The benchmark.


def test_far_has_an_offer_for_each_client_and_round(events: list[Fields]) -> None:
    """
    Each client is offered the load in each round, and the report has a row for each.
    """
    measured = asyncio.run(far.measure(NEAR, events, (), rounds=2))
    tables = far.report(events, {"near": measured}, {"near": NEAR}, ()).tables

    assert list(measured) == list(far.OWN)
    assert all(len(offers) == 2 for offers in measured.values())
    assert all(offer.acknowledged == FEW for offers in measured.values() for offer in offers)
    assert [table.title for table in tables] == [
        "Delivered",
        "Beside a fixed limit",
        "Time until the last",
    ]
    assert [row.name for row in tables[0].rows] == [f"near: {name}" for name in far.OWN]
    assert [row.target for row in tables[0].rows] == ["≥ 100: met", ""]
    assert "near: 5 ms; 200 events/s for 0.1 s" in tables[0].setting


@pytest.mark.parametrize("peer", EMITTERS, ids=[peer.name for peer in EMITTERS])
def test_a_peer_is_offered_the_same(events: list[Fields], peer: Peer) -> None:
    """
    What a peer was offered is found again at its server, event by event.
    """
    if peer.missing:
        pytest.skip("needs the extra bench")

    found = make_offer(Client(peer=peer.name), Conduct(), load_of(events))

    assert found.acknowledged == found.events == FEW
    assert found.offered.is_done


def test_options_choose_servers_and_seconds(events: list[Fields], tmp_path: Path) -> None:
    """
    A run can be confined to a server and some seconds, and leaves a trace of the exporter.
    """
    trace = tmp_path / "trace.csv"

    report = far.run(events, server=["5 ms"], seconds=0.1, rounds=1, trace=trace)

    assert [row.name for row in report.tables[1].rows] == ["5 ms"]
    with trace.open(encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    assert {row["client"] for row in rows} == set(far.OWN)
    assert {row["limit"] for row in rows if row["client"] == far.FIXED} == {"16"}
    assert {row["limit"] for row in rows if row["client"] == far.EXPORTER} == {"4"}


def test_what_a_client_has_lost_is_counted(events: list[Fields]) -> None:
    """
    Events that are not acknowledged when the client is stopped are missing in its share.
    """
    conduct = Conduct(delay=0.005, later=60.0, turns_after=0.05)
    client = Client(batch=BatchLimits(max_events=1))

    found = make_offer(client, conduct, load_of(events, patience=0.2))

    assert not found.offered.is_done
    assert 0 < found.share < 100
    assert found.time > 1
    assert "stopped" in found.describe()


def test_a_client_that_fails_has_no_figure(events: list[Fields]) -> None:
    """
    An offer ends with an error where its client did.
    """
    with pytest.raises(RuntimeError, match="failed"):
        offer(Client(peer="nobody"), "http://127.0.0.1:1", load_of(events))


@pytest.mark.parametrize("delivered", [None, 2])
def test_no_figure_counts_unless_the_server_saw_it(delivered: int | None) -> None:
    """
    A client that says it delivered what its server did not acknowledge is an error, and so is
    a server that acknowledged nothing.
    """
    noted = Noted(acknowledged=[Acknowledged(0.0, ["a"])] if delivered else [])

    with pytest.raises(RuntimeError, match="should have been acknowledged"):
        judge(Offered(pushed={"a": 0.0, "b": 0.0}, delivered=delivered), noted)


# The servers.


def answer_all(conduct: Conduct, times: list[float], *, events: int = 10) -> list[float | None]:
    """
    Send a request of 1,000 bytes at each of *times*.

    Returns:
        When each is answered; None for those refused.
    """
    manners = Manners(conduct)
    replies = [manners.answer(now, events=events, size=1_000) for now in times]
    return [None if reply.is_refused else round(reply.at, 6) for reply in replies]


@pytest.mark.parametrize(
    ("conduct", "times", "expected"),
    [
        (Conduct(delay=0.3), [1.0, 1.0, 2.0], [1.3, 1.3, 2.3]),
        (Conduct(delay=0.1, later=0.3, turns_after=2.0), [5.0, 6.9, 7.0], [5.1, 7.0, 7.3]),
        (Conduct(delay=0.1, workers=2, per_event=0.1), [1.0, 1.0, 1.5], [2.1, 2.1, 3.1]),
        (Conduct(delay=0.1, bandwidth=8_000), [1.0, 1.5, 9.0], [2.1, 3.1, 10.1]),
        (Conduct(allowed=2), [1.0, 1.1, 1.9, 2.0], [1.0, 1.1, None, 2.0]),
    ],
    ids=["delay", "step", "workers", "bandwidth", "429"],
)
def test_a_server_behaves_as_its_conduct_says(
    conduct: Conduct, times: list[float], expected: list[float | None]
) -> None:
    """
    Answers come when the delay, the workers and the line allow it, and refusals where they must.
    """
    assert answer_all(conduct, times) == expected


def test_jitter_has_the_mean_and_the_spread_that_were_asked_for() -> None:
    """
    The delays of a jittery server are random, and the same in every run.
    """
    conduct = Conduct(delay=0.3, spread=0.5)
    delays = [at or 0.0 for at in answer_all(conduct, [0.0] * 5_000)]

    assert fmean(delays) == pytest.approx(0.3, rel=0.05)
    assert pstdev(delays) / fmean(delays) == pytest.approx(0.5, rel=0.1)
    assert delays == answer_all(conduct, [0.0] * 5_000)


def test_a_strict_server_says_when_to_come_back() -> None:
    """
    A refused request gets 429 and Retry-After, and its events are noted nowhere.
    """
    body = b'{"model_events":[{"event_id":"a"},{"event_id":"b"}]}'
    with running_distant(Conduct(allowed=1, retry_after=7)) as server:
        refusals = []
        for _ in range(3):  # two of them are within one second of the clock
            try:
                OPENER.open(f"{server.url}/events/model/batch", data=body).close()
            except urllib.error.HTTPError as refusal:
                refusals.append((refusal.code, refusal.headers["Retry-After"]))
        noted = server.collect()

    assert refusals
    assert set(refusals) == {(429, "7")}
    assert (noted.requests, noted.refused) == (3, len(refusals))
    assert (noted.events, noted.distinct) == (2 * (3 - len(refusals)), 2)
    assert [len(each.ids) for each in noted.acknowledged] == [2] * (3 - len(refusals))


def test_each_scenario_is_described() -> None:
    """
    The report says what each server is like.
    """
    jittery = evolve(far.SCENARIOS["jitter"].conduct, bandwidth=5e6)

    said = "300 ms, log-normal with a coefficient of variation of 0.5, 5 Mbit/s"
    assert jittery.describe() == said
    assert far.SCENARIOS["429, Retry-After"].describe() == (
        "30 ms, 429 beyond 10 requests in a second, Retry-After: 1; 2,000 events/s for 10 s"
    )
