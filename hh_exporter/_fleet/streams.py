"""
The streams and the consumer of a fleet: how they are, and setting them up.

What is there is never changed: a consumer is made with `action=create`, without which the server
would overwrite an existing one silently, and a stream only where there is none of that name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Literal, TypeVar

from attrs import frozen

from hh_exporter._clock import Deadline
from hh_exporter._fleet.api import Api, ApiError
from hh_exporter._fleet.plan import NANOSECONDS, Names, Plan
from hh_exporter._transport.nats import Connection

__all__ = ["ConsumerState", "Part", "Replica", "State", "StreamState", "look", "set_up"]

T = TypeVar("T")

_ALONE = 10074
_NO_PEERS = "no suitable peers for placement"
"""All of the server's words where the cluster has too few servers; more of them, and it has
servers that can't be used now."""


@frozen(kw_only=True)
class Replica:
    """
    A server that keeps a copy, beside the leader.
    """

    name: str
    is_current: bool
    """Whether it has all that the leader has."""
    is_offline: bool
    lag: int
    """How many changes it is behind."""


@frozen(kw_only=True)
class StreamState:
    """
    How a stream is.
    """

    config: Mapping[str, Any]
    messages: int
    bytes: int
    oldest_at: float | None
    """Unix time at which the oldest message was published; None without one."""
    last_seq: int
    """How many were ever published."""
    is_clustered: bool
    """Whether its server is one of several."""
    leader: str | None
    """None while an election goes on, or where a server by itself names none."""
    replicas: tuple[Replica, ...]

    @property
    def name(self) -> str:
        return str(self.config.get("name", ""))


@frozen(kw_only=True)
class ConsumerState:
    """
    How a consumer is.
    """

    config: Mapping[str, Any]
    waiting: int
    """Messages that no relay has been given yet."""
    in_hand: int
    """Messages that a relay has, and has not acknowledged."""
    redelivered: int
    """Those of them that were given out before."""
    pulls: int
    """Requests of relays that wait for messages."""
    is_clustered: bool
    leader: str | None
    replicas: tuple[Replica, ...]
    is_paused: bool

    @property
    def name(self) -> str:
        return str(self.config.get("durable_name", self.config.get("name", "")))


@frozen(kw_only=True)
class State:
    """
    How a fleet's streams are; None for what there is not.
    """

    names: Names
    events: StreamState | None
    consumer: ConsumerState | None
    dead: StreamState | None
    max_payload: int
    """Bytes that the server takes in one message."""
    max_storage: int | None = None
    """Bytes that the account may store, over all replicas; None if that can't be known."""


@frozen(kw_only=True)
class Part:
    """
    What became of a stream or the consumer, when it was set up.
    """

    what: str
    fate: Literal["created", "right", "differs"]
    differences: tuple[str, ...] = ()
    """As "discard is old, and not new"; what is there was not changed."""


async def look(
    connection: Connection, names: Names, deadline: Deadline, *, with_limits: bool = False
) -> State:
    """
    Ask how streams and consumer are. Changes nothing.

    Args:
        with_limits: Also ask what the account may store, for which a relay has no permission.

    Raises:
        ApiError: There was no answer by *deadline*, or the user may not ask.
    """
    api = Api(connection)
    consumer = f"CONSUMER.INFO.{names.stream}.{names.consumer}"
    events = await _find(api, f"STREAM.INFO.{names.stream}", _read_stream, deadline)
    taking = None if events is None else await _find(api, consumer, _read_consumer, deadline)
    dead = await _find(api, f"STREAM.INFO.{names.dead_stream}", _read_stream, deadline)
    limit = 0
    if with_limits:
        account = await api.call("INFO", deadline=deadline)
        limit = int(account.get("limits", {}).get("max_storage", 0))
    return State(
        names=names,
        events=events,
        consumer=taking,
        dead=dead,
        max_payload=connection.max_payload,
        max_storage=limit if limit > 0 else None,
    )


async def set_up(connection: Connection, plan: Plan, deadline: Deadline) -> list[Part]:
    """
    Create those streams, and the consumer, that are not there.

    Raises:
        ApiError: The server refuses to create one, or there was no answer by *deadline*. What
            was created until then stays; it can be called again.
    """
    api = Api(connection)
    names = plan.names
    events = await _set_up_stream(api, names.stream, plan.events, plan.replicas, deadline)
    dead = await _set_up_stream(api, names.dead_stream, plan.dead, plan.replicas, deadline)
    return [events, await _set_up_consumer(api, plan, deadline), dead]


async def _set_up_stream(
    api: Api,
    name: str,
    configure: Callable[[int], dict[str, Any]],
    replicas: int | None,
    deadline: Deadline,
) -> Part:
    what = f"stream {name}"
    found = await _find(api, f"STREAM.INFO.{name}", _read_stream, deadline)
    if found is not None:
        wanted = configure(replicas or found.config.get("num_replicas", 1))
        return _compare(what, found.config, wanted)
    create = f"STREAM.CREATE.{name}"
    try:
        await api.call(create, configure(replicas or 3), deadline=deadline)
    except ApiError as exc:
        is_small = exc.code == _ALONE or exc.description == _NO_PEERS
        if replicas is not None or not is_small:
            raise
        await api.call(create, configure(1), deadline=deadline)
    return Part(what=what, fate="created")


async def _set_up_consumer(api: Api, plan: Plan, deadline: Deadline) -> Part:
    names = plan.names
    what = f"consumer {names.consumer}"
    found = await _find(
        api, f"CONSUMER.INFO.{names.stream}.{names.consumer}", _read_consumer, deadline
    )
    if found is not None:
        return _compare(what, found.config, plan.consumer())
    create = f"CONSUMER.CREATE.{names.stream}.{names.consumer}"
    await api.call(create, plan.making_consumer(), deadline=deadline)
    return Part(what=what, fate="created")


def _compare(what: str, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> Part:
    differences = tuple(
        f"{key} is {_tell(key, found.get(key))}, and not {_tell(key, value)}"
        for key, value in wanted.items()
        if found.get(key) != value
    )
    return Part(what=what, fate="differs" if differences else "right", differences=differences)


def _tell(key: str, value: Any) -> str:
    if key in ("ack_wait", "duplicate_window", "max_age") and isinstance(value, int):
        return f"{value / NANOSECONDS:g} s"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else str(value)


async def _find(
    api: Api, call: str, read: Callable[[Mapping[str, Any]], T], deadline: Deadline
) -> T | None:
    try:
        return read(await api.call(call, deadline=deadline))
    except ApiError as exc:
        if exc.is_missing:
            return None
        raise


def _read_stream(answer: Mapping[str, Any]) -> StreamState:
    state = answer.get("state", {})
    messages = int(state.get("messages", 0))
    cluster = answer.get("cluster") or {}
    return StreamState(
        config=answer.get("config", {}),
        messages=messages,
        bytes=int(state.get("bytes", 0)),
        oldest_at=_read_time(state.get("first_ts")) if messages else None,
        last_seq=int(state.get("last_seq", 0)),
        is_clustered="name" in cluster,
        leader=cluster.get("leader"),
        replicas=_read_replicas(cluster),
    )


def _read_consumer(answer: Mapping[str, Any]) -> ConsumerState:
    cluster = answer.get("cluster") or {}
    return ConsumerState(
        config=answer.get("config", {}),
        waiting=int(answer.get("num_pending", 0)),
        in_hand=int(answer.get("num_ack_pending", 0)),
        redelivered=int(answer.get("num_redelivered", 0)),
        pulls=int(answer.get("num_waiting", 0)),
        is_clustered="name" in cluster,
        leader=cluster.get("leader"),
        replicas=_read_replicas(cluster),
        is_paused=bool(answer.get("paused", False)),
    )


def _read_replicas(cluster: Mapping[str, Any]) -> tuple[Replica, ...]:
    return tuple(
        Replica(
            name=str(one.get("name", "")),
            is_current=bool(one.get("current", False)),
            is_offline=bool(one.get("offline", False)),
            lag=int(one.get("lag", 0)),
        )
        for one in cluster.get("replicas") or ()
    )


def _read_time(text: Any) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp()
    except (TypeError, ValueError):
        return None
