"""
What of a fleet's settings loses events, or may; in words that say what to set.

One rule for each key, and a row for each in docs/fleet.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from attrs import frozen

from hh_exporter._dialects.messages import MOST_HEADERS
from hh_exporter._dialects.registry import DIALECTS
from hh_exporter._fleet.plan import NANOSECONDS
from hh_exporter._fleet.streams import ConsumerState, State, StreamState

__all__ = ["KEYS", "Advice", "compare"]

_LEAST_ACK_WAIT = 30
_LEAST_WINDOW = 120
"""Seconds."""

_MOST_OF_STORAGE = 0.7
_NEARLY_FULL = 0.9


@frozen(kw_only=True)
class Advice:
    """
    What is wrong, and what to do.
    """

    key: str
    """Names its row in docs/fleet.md."""
    text: str
    loses_events: bool
    """Whether events are lost by it, or never delivered, though everything works."""


@frozen(kw_only=True)
class _Case:
    state: State
    max_event_bytes: int
    in_hand: int
    """Messages that all relays want to hold, together; 0 if that is not known."""


def compare(
    state: State, *, max_event_bytes: int = 1_000_000, relays: int = 0, prefetch: int = 0
) -> list[Advice]:
    """
    List what of *state* loses events, or may; the worst first.

    Args:
        max_event_bytes: The setting of the apps.
        relays: How many run; 0 if that is not known.
        prefetch: How many messages each of them holds.
    """
    case = _Case(state=state, max_event_bytes=max_event_bytes, in_hand=relays * prefetch)
    found = [
        Advice(key=key, text=text, loses_events=loses)
        for key, (loses, rule) in _RULES.items()
        for text in rule(case)
    ]
    return sorted(found, key=lambda advice: not advice.loses_events)


def _streams(case: _Case) -> Iterator[StreamState]:
    yield from filter(None, (case.state.events, case.state.dead))


def _events(case: _Case) -> Iterator[StreamState]:
    yield from filter(None, (case.state.events,))


def _consumers(case: _Case) -> Iterator[ConsumerState]:
    yield from filter(None, (case.state.consumer,))


def _seconds(config: Any, key: str) -> float:
    return float(config.get(key) or 0) / NANOSECONDS


def _missing(case: _Case) -> Iterator[str]:
    names = case.state.names
    setup = "create it with hh-exporter relay --setup"
    if case.state.events is None:
        yield f"there is no stream {names.stream}: apps keep their events; {setup}"
    elif case.state.consumer is None:
        yield f"stream {names.stream} has no consumer {names.consumer}: nothing is taken; {setup}"
    if case.state.dead is None:
        yield (
            f"there is no stream {names.dead_stream}: an event that is refused has nowhere to go, "
            f"and stays in {names.stream}; {setup}"
        )


def _subjects(case: _Case) -> Iterator[str]:
    names = case.state.names
    for stream, subject in ((case.state.events, names.events), (case.state.dead, names.dead)):
        if stream is not None:
            taken = stream.config.get("subjects") or ()
            if not any(_covers(pattern, subject) for pattern in taken):
                yield (
                    f"stream {stream.name} does not take {subject}, but {', '.join(taken)}: "
                    f"what is published there goes nowhere; add it to its subjects"
                )


def _filter(case: _Case) -> Iterator[str]:
    names = case.state.names
    for consumer in _consumers(case):
        one = consumer.config.get("filter_subject")
        filters = consumer.config.get("filter_subjects") or ([one] if one else [">"])
        if filters == [names.events]:
            continue
        told = ", ".join(filters)
        if not any(
            _covers(pattern, f"{names.subject}.{d}") for pattern in filters for d in DIALECTS
        ):
            yield (
                f"consumer {consumer.name} takes {told}, which no app publishes: no event is ever "
                f"delivered; make one that takes {names.events}"
            )
        elif not any(_covers(pattern, names.events) for pattern in filters):
            yield (
                f"consumer {consumer.name} takes {told}, and not {names.events}: name the "
                f"consumer of that dialect, or make one"
            )
        else:
            yield (
                f"consumer {consumer.name} takes {told}: events of other dialects are given to "
                f"relays that can't deliver them; make one that takes {names.events} alone"
            )


def _retention(case: _Case) -> Iterator[str]:
    for stream in _events(case):
        kind = stream.config.get("retention")
        if kind == "interest":
            yield (
                f"stream {stream.name} has retention interest: what comes while it has no "
                f"consumer is lost; make it again, with retention workqueue"
            )
        elif kind != "workqueue":
            yield (
                f"stream {stream.name} has retention {kind}: what was delivered stays until the "
                f"stream is full and takes no more; make it again, with retention workqueue"
            )
    dead = case.state.dead
    if dead is not None and dead.config.get("retention") == "interest":
        yield (
            f"stream {dead.name} has retention interest: dead letters are lost at once, since "
            f"nothing takes them; make it again, with retention limits"
        )


def _discard(case: _Case) -> Iterator[str]:
    for stream in _streams(case):
        if stream.config.get("discard") != "new":
            yield (
                f"stream {stream.name} has discard old: when it is full, its oldest messages are "
                f"lost, and nobody is told; set discard new"
            )


def _max_age(case: _Case) -> Iterator[str]:
    for stream in _events(case):
        if age := _seconds(stream.config, "max_age"):
            yield (
                f"stream {stream.name} has max_age {age:g} s: events that wait longer are lost, "
                f"as when the API is away; set max_age 0"
            )


def _storage(case: _Case) -> Iterator[str]:
    for stream in _streams(case):
        if stream.config.get("storage") != "file":
            yield (
                f"stream {stream.name} is in memory: it is lost when its servers restart; make "
                f"it again, with storage file"
            )


def _acknowledgements(case: _Case) -> Iterator[str]:
    for consumer in _consumers(case):
        policy = consumer.config.get("ack_policy")
        if policy != "explicit":
            yield (
                f"consumer {consumer.name} has ack_policy {policy}: messages are removed before "
                f"they are delivered; make it again, with ack_policy explicit"
            )


def _bodies(case: _Case) -> Iterator[str]:
    for consumer in _consumers(case):
        if consumer.config.get("headers_only"):
            yield (
                f"consumer {consumer.name} has headers_only: relays get no event; set headers_only "
                f"false"
            )


def _max_deliver(case: _Case) -> Iterator[str]:
    for consumer in _consumers(case):
        count = int(consumer.config.get("max_deliver", -1))
        if count > 0:
            yield (
                f"consumer {consumer.name} has max_deliver {count}: an event that was given out so "
                f"often stays in the stream and is never delivered; set max_deliver -1"
            )


def _max_msg_size(case: _Case) -> Iterator[str]:
    for stream in _events(case):
        size = int(stream.config.get("max_msg_size", -1))
        if 0 <= size < case.max_event_bytes + MOST_HEADERS:
            yield (
                f"stream {stream.name} has max_msg_size {size:,}: larger events are dropped as "
                f"too_large; set at least {case.max_event_bytes + MOST_HEADERS:,}, which is "
                f"max_event_bytes and {MOST_HEADERS:,} for headers"
            )


def _max_payload(case: _Case) -> Iterator[str]:
    size = case.state.max_payload
    if size < case.max_event_bytes + MOST_HEADERS:
        yield (
            f"the server has max_payload {size:,}: larger events are dropped as too_large; set at "
            f"least {case.max_event_bytes + MOST_HEADERS:,}, or a smaller max_event_bytes in the "
            f"apps"
        )


def _paused(case: _Case) -> Iterator[str]:
    for consumer in _consumers(case):
        if consumer.is_paused:
            yield f"consumer {consumer.name} is paused: nothing is delivered; resume it"


def _max_bytes(case: _Case) -> Iterator[str]:
    for stream in _streams(case):
        size = int(stream.config.get("max_bytes", -1))
        limit = case.state.max_storage
        copies = int(stream.config.get("num_replicas", 1))
        if size <= 0:
            yield (
                f"stream {stream.name} has no max_bytes: a server whose storage is full takes and "
                f"gives nothing any more; set at most 70 % of its max_file_store"
            )
        elif limit is not None and size * copies > _MOST_OF_STORAGE * limit:
            yield (
                f"stream {stream.name} has max_bytes {size:,}, in {copies} replicas more than 70 % "
                f"of the {limit:,} that the account may store; set less"
            )


def _max_msgs(case: _Case) -> Iterator[str]:
    for stream in _streams(case):
        for key in ("max_msgs", "max_msgs_per_subject"):
            if (count := int(stream.config.get(key, -1))) > 0:
                yield (
                    f"stream {stream.name} has {key} {count:,}: it is full before its max_bytes "
                    f"are used; set {key} -1"
                )


def _full(case: _Case) -> Iterator[str]:
    for stream in _streams(case):
        size = int(stream.config.get("max_bytes", -1))
        if size > 0 and stream.bytes >= _NEARLY_FULL * size:
            then = (
                "apps keep their events, and drop them by their overflow policy"
                if stream is case.state.events
                else "relays can't end the events that the API refuses; purge some"
            )
            yield f"stream {stream.name} is {stream.bytes / size:.0%} full: beyond that, {then}"


def _ack_wait(case: _Case) -> Iterator[str]:
    for consumer in _consumers(case):
        backoff = consumer.config.get("backoff") or ()
        wait = min([_seconds(consumer.config, "ack_wait"), *(n / NANOSECONDS for n in backoff)])
        if wait < _LEAST_ACK_WAIT:
            which = "backoff" if backoff else "ack_wait"
            yield (
                f"consumer {consumer.name} has {which} {wait:g} s: what a relay holds during an "
                f"election is sent twice; set " + ("no backoff, and " if backoff else "") + "60 s"
            )


def _max_ack_pending(case: _Case) -> Iterator[str]:
    for consumer in _consumers(case):
        count = int(consumer.config.get("max_ack_pending", 1000))
        if 0 < count < case.in_hand:
            yield (
                f"consumer {consumer.name} has max_ack_pending {count:,}, and relays want to hold "
                f"{case.in_hand:,}: some of them wait for others; set more"
            )


def _duplicate_window(case: _Case) -> Iterator[str]:
    for stream in _events(case):
        window = _seconds(stream.config, "duplicate_window")
        if window < _LEAST_WINDOW:
            yield (
                f"stream {stream.name} has duplicate_window {window:g} s: what an app publishes "
                f"again after a longer outage is sent twice; set 600 s"
            )


def _replicas(case: _Case) -> Iterator[str]:
    for stream in _streams(case):
        if stream.is_clustered and int(stream.config.get("num_replicas", 1)) < 2:
            yield (
                f"stream {stream.name} has one replica in a cluster: it stands still while that "
                f"server is away, and is lost with its disk; set 3 replicas"
            )


def _servers(case: _Case) -> Iterator[str]:
    parts: list[tuple[str, StreamState | ConsumerState]] = [
        *(("stream", stream) for stream in _streams(case)),
        *(("consumer", consumer) for consumer in _consumers(case)),
    ]
    for kind, part in parts:
        if part.is_clustered and part.leader is None:
            yield f"{kind} {part.name} has no leader: nothing goes in or out until it has one"
        for one in part.replicas:
            if one.is_offline:
                yield f"{kind} {part.name}: its server {one.name} is away; start it"


def _covers(pattern: str, subject: str) -> bool:
    """
    Whether *subject*, without wildcards, is one of *pattern* (https://docs.nats.io/nats-concepts/subjects).
    """
    wanted, given = pattern.split("."), subject.split(".")
    if wanted[-1] == ">":
        wanted.pop()
        if len(given) <= len(wanted):
            return False
        given = given[: len(wanted)]
    return len(wanted) == len(given) and all(
        a in ("*", b) for a, b in zip(wanted, given, strict=True)
    )


_RULES: dict[str, tuple[bool, Callable[[_Case], Iterator[str]]]] = {
    "missing": (True, _missing),
    "subjects": (True, _subjects),
    "filter_subject": (True, _filter),
    "retention": (True, _retention),
    "discard": (True, _discard),
    "max_age": (True, _max_age),
    "storage": (True, _storage),
    "ack_policy": (True, _acknowledgements),
    "headers_only": (True, _bodies),
    "max_deliver": (True, _max_deliver),
    "max_msg_size": (True, _max_msg_size),
    "max_payload": (True, _max_payload),
    "paused": (True, _paused),
    "max_bytes": (False, _max_bytes),
    "max_msgs": (False, _max_msgs),
    "full": (False, _full),
    "ack_wait": (False, _ack_wait),
    "max_ack_pending": (False, _max_ack_pending),
    "duplicate_window": (False, _duplicate_window),
    "replicas": (False, _replicas),
    "servers": (False, _servers),
}
"""Whether it loses events, and what finds it, by key."""

KEYS = frozenset(_RULES)
