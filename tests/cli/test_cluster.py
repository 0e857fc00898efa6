"""
Clusters of NATS servers on this machine: they start, take what is done to them, and end.
"""

from __future__ import annotations

import socket
import tempfile
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from hh_exporter._cli._cluster import Cluster
from hh_exporter._cli._errors import CallError
from tests.nats import Client, connected, needs_server
from tests.programs import started
from tests.support import until

pytestmark = needs_server

STREAM = "EVENTS"
SUBJECT = "events.one"

ENDING = """
import asyncio, os, signal, sys
from hh_exporter._cli._cluster import Cluster

async def main():
    async with Cluster(size=2) as cluster:
        print(*cluster.pids.values(), flush=True)
        print(os.path.dirname(cluster._servers[0].folder / "any"), flush=True)
        {end}

asyncio.run(main())
"""


async def fill(client: Client, replicas: int, messages: int = 1) -> None:
    await client.make_stream(STREAM, "events.>", num_replicas=replicas)
    await client.make_consumer(STREAM, "relay")
    for _ in range(messages):
        assert (await client.publish(SUBJECT, b"{}"))["stream"] == STREAM


async def kept(cluster: Cluster) -> int:
    async with connected(cluster) as client:
        return await client.messages(STREAM)


def states_of_threads(pid: int) -> set[str]:
    """
    Name what the threads of a process do, by the letters of ps; none if there is no such process.
    """
    stats = Path(f"/proc/{pid}/task").glob("*/stat")
    return {stat.read_text().rpartition(")")[2].split()[0] for stat in stats}


def is_running(pid: int) -> bool:
    """
    Whether it is a process that has not ended; one that nobody waited for has.
    """
    try:
        return not states_of_threads(pid) <= {"Z", "X"}
    except (FileNotFoundError, ProcessLookupError):
        return False


async def test_one_server_is_enough(nats_server: Cluster) -> None:
    """
    By itself it takes a stream without replicas, and leads it.
    """
    async with connected(nats_server) as client:
        await fill(client, replicas=1)

        assert len(nats_server.addresses) == 1
        assert await client.messages(STREAM) == 1
        assert await nats_server.leader_of(STREAM) == 1
        assert await nats_server.leader_of(STREAM, "relay") == 1


@pytest.mark.parametrize("again", [False, True])
async def test_servers_that_tests_share_are_empty(nats_server: Cluster, again: bool) -> None:
    """
    The streams of one test are gone when the next one begins.
    """
    async with connected(nats_server) as client:
        assert await client.streams() == []
        await fill(client, replicas=1)


async def test_three_servers_hold_what_one_leads(cluster: Cluster) -> None:
    """
    A stream of three replicas can be made at once; its leader, and its consumer's, are found.
    """
    async with connected(cluster) as client:
        await fill(client, replicas=3)
        stream = (await client.call(f"STREAM.INFO.{STREAM}"))["cluster"]
        consumer = (await client.call(f"CONSUMER.INFO.{STREAM}.relay"))["cluster"]

        assert len(stream["replicas"]) == 2
        assert f"n{await cluster.leader_of(STREAM)}" == stream["leader"]
        assert f"n{await cluster.leader_of(STREAM, 'relay')}" == consumer["leader"]


async def test_what_is_stored_outlives_kills(hurt_cluster: Cluster) -> None:
    """
    Another server leads once the leader is killed; killed ones come back, with all they had.
    """
    async with connected(hurt_cluster) as client:
        await fill(client, replicas=3, messages=3)
    addresses = hurt_cluster.servers
    leader = await hurt_cluster.leader_of(STREAM)

    await hurt_cluster.kill(leader)
    assert leader not in hurt_cluster.pids
    assert await hurt_cluster.leader_of(STREAM) != leader
    assert await kept(hurt_cluster) == 3

    await hurt_cluster.kill_all()
    assert hurt_cluster.pids == {}
    await hurt_cluster.start(1)  # can do nothing by itself, but can be connected to
    async with connected(hurt_cluster.addresses[0]):
        pass

    await hurt_cluster.start()
    assert len(hurt_cluster.pids) == 3
    assert hurt_cluster.servers == addresses
    assert await kept(hurt_cluster) == 3


async def test_a_frozen_server_stands_still(hurt_cluster: Cluster) -> None:
    """
    None of its threads runs, and others lead; thawed, it follows. A stop ends a frozen one, too.
    """
    async with connected(hurt_cluster) as client:
        await fill(client, replicas=3)
    leader = await hurt_cluster.leader_of(STREAM)

    await hurt_cluster.freeze(leader)
    assert states_of_threads(hurt_cluster.pids[leader]) == {"T"}
    assert await hurt_cluster.leader_of(STREAM) != leader

    hurt_cluster.thaw(leader)
    await hurt_cluster.answered()
    assert await hurt_cluster.leader_of(STREAM) != leader

    await hurt_cluster.freeze(leader)
    await hurt_cluster.stop(leader)
    assert leader not in hurt_cluster.pids


async def test_nothing_is_left_of_a_cluster() -> None:
    """
    After the block, or a second end, neither processes nor files nor taken ports are there.
    """
    async with Cluster(size=2) as cluster:
        pids, addresses = cluster.pids, cluster.addresses
        folder = cluster._servers[0].folder
        assert len(pids) == 2
        await cluster.kill(1)
        await cluster.freeze(2)
    await cluster.end()

    assert not any(map(is_running, pids.values()))
    assert not folder.exists()
    for address in addresses:
        with socket.socket() as free:
            free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # after its clients
            free.bind(("127.0.0.1", urlsplit(address).port))
            free.listen()


@pytest.mark.parametrize(
    "end", ["os.kill(os.getpid(), signal.SIGKILL)", "os._exit(1)", "sys.exit(1)", "1 / 0"]
)
async def test_servers_die_with_their_program(end: str) -> None:
    """
    However the program ends that started them, they end and their folder goes.
    """
    with started("-c", ENDING.format(end=end), environ={}) as program:
        pids = [int(pid) for pid in (await program.line()).split()]
        folder = Path(await program.line())
        assert (await program.ended()).status != 0

    assert len(pids) == 2
    await until(lambda: not any(map(is_running, pids)))
    await until(lambda: not folder.exists())


async def test_the_port_of_a_killed_server_stays_its_own() -> None:
    """
    It refuses clients, and nobody else can have it.
    """
    async with Cluster(size=1) as cluster:
        await cluster.kill(1)
        where = ("127.0.0.1", urlsplit(cluster.servers).port)

        with socket.socket() as client, pytest.raises(ConnectionRefusedError):
            client.connect(where)
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(where)

        await cluster.start(1)
        async with connected(cluster) as client:
            assert await client.streams() == []


async def test_settings_reach_the_servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Users may be asked for, and storage lie in a folder whose name has to be quoted.
    """
    odd = tmp_path / 'a "b" \\n ü $HOME'
    odd.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(odd))
    users = 'authorization { users: [{user: "app", password: "secret"}] }'
    async with Cluster(size=1, settings=users, storage="sync_interval: always") as cluster:
        async with connected(cluster, user="app", password="secret") as client:
            await fill(client, replicas=1)
        with pytest.raises(Exception, match=r"(?i)authorization violation"):
            async with connected(cluster, user="app", password="wrong"):
                pass
        answer = await cluster._servers[0].ask("jsz")

    assert answer["config"]["sync_always"] is True
    assert Path(answer["config"]["store_dir"]).is_relative_to(odd)
    assert list(odd.iterdir()) == []


async def test_settings_that_the_server_refuses_are_told() -> None:
    """
    What it says of them is in the error, and nothing is left.
    """
    cluster = Cluster(size=1, settings="no_such_setting: 1")

    with pytest.raises(CallError, match='unknown field "no_such_setting"'):
        async with cluster:
            pass

    assert cluster.pids == {}


async def test_a_server_that_does_not_run_is_told() -> None:
    """
    What can't be done to a server is a ValueError that says why.
    """
    async with Cluster(size=1) as cluster:
        await cluster.kill(1)
        with pytest.raises(ValueError, match="server 1 does not run"):
            await cluster.freeze(1)
        with pytest.raises(ValueError, match="no server 0: they are numbered from 1"):
            await cluster.kill(0)


async def test_a_missing_server_program_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Without the package that brings it, the error names the extra.
    """

    def files(_: str) -> None:
        raise metadata.PackageNotFoundError

    monkeypatch.setattr(metadata, "files", files)

    with pytest.raises(CallError, match=r"hh_exporter\[fleet\]"):
        async with Cluster(size=1):
            pass


FAILING = """
def test_it(nats_server, hurt_cluster):
    print("pids", *nats_server.pids.values(), *hurt_cluster.pids.values(), flush=True)
    assert False
"""


async def test_a_failing_test_leaves_no_server(tmp_path: Path) -> None:
    """
    Those that tests share end with the session, and those of one test with it.
    """
    (tmp_path / "test_failing.py").write_text(FAILING)
    options = (
        "-p",
        "tests.conftest",
        "-p",
        "no:cacheprovider",
        "-q",
        "-s",
        f"--rootdir={tmp_path}",
    )
    with started("-m", "pytest", *options, str(tmp_path), environ={}) as program:
        done = await program.ended()

    assert "1 failed" in done.stdout, done
    [line] = [line for line in done.stdout.splitlines() if line.startswith("pids ")]
    pids = [int(word) for word in line.split()[1:]]
    assert len(pids) == 4
    assert not any(map(is_running, pids))
