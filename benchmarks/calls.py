"""
What does recording a call cost its caller, beside one push and the decorators of others?
"""

from __future__ import annotations

import asyncio
import gc
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from inspect import iscoroutinefunction
from statistics import median
from typing import Any, TypeAlias

from attrs import frozen

from benchmarks._command import answer
from benchmarks._exporter import idle_exporter
from benchmarks._peers import PEERS, Peer, secluded
from benchmarks._report import Report, Row, Table, find_versions
from benchmarks._rounds import compare, interleave
from benchmarks._sink import Sink, running_sink
from benchmarks._workload import Fields, describe
from hh_exporter import Event, Exporter, ModelEvent

COUNT = 500
"""Calls of each variant in a round: fewer than the vendor's tracer sends at once."""
ROUNDS = 15
WARM_UP = 2

MODEL_EVENT, EVENT = "push of a ModelEvent", "push of an Event"
FUNCTION = "the function alone"
PUSH = "push of an Event with the same content"
CONSTRUCT = "construct and push it"
TRACE = "@exporter.trace"
TRACE_BLOCK, RECORD_BLOCK = "with exporter.trace", "with exporter.record"

MOST_UNLIKE = 1.05
"""How much larger one may be than the other of the two."""
AT_MOST_EVENT = 1.1
AT_MOST_CALL = 1.5
"""Times one push, without the time of the function."""
AT_LEAST_PEER = 10.0
"""Times `@exporter.trace`, without the time of the function."""

Costs: TypeAlias = Mapping[str, Sequence[float]]
"""Seconds of a call or an event, by variant and round."""
Work: TypeAlias = Callable[[str, int], Any]


def look_up(question: str, limit: int) -> str:
    return "On its way."


async def look_up_later(question: str, limit: int) -> str:
    return "On its way."


KINDS = ("function", "coroutine function")
FUNCTIONS: tuple[Work, ...] = (look_up, look_up_later)
"""What is recorded: two small arguments, and a small result."""
ARGUMENTS = ("Where is my parcel?", 3)


@frozen(kw_only=True)
class Measured:
    """
    All that was measured.
    """

    kinds: Costs
    """From `measure_kinds`."""
    calls: Sequence[Costs]
    """From `measure`."""


async def measure(
    sink: Sink,
    peers: Sequence[Peer] = PEERS,
    *,
    count: int = COUNT,
    rounds: int = ROUNDS,
    warm_up: int = WARM_UP,
) -> list[dict[str, list[float]]]:
    """
    Time each way to record *count* calls of a function, once a round, for each of FUNCTIONS.

    All that is recorded arrives at *sink*, outside of the timing.
    """

    async def run(work: Work, drain: Callable[[], Awaitable[object]]) -> float:
        cost = await _time(work, count)
        await drain()
        sink.expect(count)
        return cost

    async with AsyncExitStack() as stack:
        stack.enter_context(secluded())
        exporter = await stack.enter_async_context(idle_exporter(sink.url, count))
        session = stack.enter_context(exporter.session(session_id=str(uuid.uuid4())))
        # Once for all functions: the vendor's tracer does not start a second time in a process.
        tracers = {
            peer.name: await stack.enter_async_context(peer.trace(sink.url))
            for peer in peers
            if peer.trace is not None and not peer.missing
        }
        measured = []
        for function in FUNCTIONS:
            variants = {FUNCTION: partial(_time, function, count)}
            for name, work in _list_own(exporter, function, session.session_id).items():
                variants[name] = partial(run, work, exporter.flush)
            for name, tracer in tracers.items():
                variants[name] = partial(run, tracer.decorate(function), tracer.drain)
            measured.append(await interleave(variants, rounds=rounds, warm_up=warm_up))
    return measured


def _list_own(exporter: Exporter, function: Work, session_id: str | None) -> dict[str, Work]:
    """
    List the ways to record a call with *exporter*, which all send the same.
    """
    question, limit = ARGUMENTS
    inputs, outputs = {"question": question, "limit": limit}, {"result": "On its way."}
    ready = Event(
        event_type="chain",
        event_name="look_up",
        session_id=session_id,
        inputs=inputs,
        outputs=outputs,
        start_time=1_750_000_000_000.123,
        end_time=1_750_000_000_000.456,
        duration=0.333,
    )

    def push(question: str, limit: int) -> None:
        exporter.push(ready)

    def construct(question: str, limit: int) -> None:
        exporter.push(
            Event(
                event_type="chain",
                event_name="look_up",
                inputs={"question": question, "limit": limit},
                outputs={"result": look_up(question, limit)},
            )
        )

    def trace(question: str, limit: int) -> None:
        inputs = {"question": question, "limit": limit}
        with exporter.trace("look_up", inputs=inputs) as step:
            step.outputs = {"result": look_up(question, limit)}

    def record(question: str, limit: int) -> None:
        inputs = {"question": question, "limit": limit}
        with exporter.record(model="gpt-4o", event_name="look_up", inputs=inputs) as call:
            call.outputs = {"result": look_up(question, limit)}

    decorated = {PUSH: push, TRACE: exporter.trace(function)}
    if iscoroutinefunction(function):
        return decorated
    return {**decorated, CONSTRUCT: construct, TRACE_BLOCK: trace, RECORD_BLOCK: record}


async def _time(work: Work, count: int) -> float:
    """
    Call *work*, and await it if it is a coroutine function; say how long one call takes.
    """
    is_awaited = iscoroutinefunction(work)
    gc.collect()
    began = time.perf_counter()
    if is_awaited:
        for _ in range(count):
            await work(*ARGUMENTS)
    else:
        for _ in range(count):
            work(*ARGUMENTS)
    return (time.perf_counter() - began) / count


async def measure_kinds(
    events: Sequence[Fields], sink: Sink, *, rounds: int = ROUNDS, warm_up: int = WARM_UP
) -> dict[str, list[float]]:
    """
    Time the push of all *events* as ModelEvents, and as Events of the same payloads.
    """

    sizes: list[int] = []

    async def run(items: Sequence[ModelEvent | Event]) -> float:
        gc.collect()
        began = time.perf_counter()
        for item in items:
            exporter.push(item)
        cost = (time.perf_counter() - began) / len(items)
        sizes.append(exporter.stats().queued_bytes)
        await exporter.flush()
        sink.expect(len(items))
        return cost

    async with idle_exporter(sink.url, len(events)) as exporter:
        costs = await interleave(
            {
                MODEL_EVENT: partial(run, [ModelEvent(**fields) for fields in events]),
                EVENT: partial(run, [as_event(fields) for fields in events]),
            },
            rounds=rounds,
            warm_up=warm_up,
        )
    if max(sizes) > MOST_UNLIKE * min(sizes):
        raise RuntimeError(f"the events of both kinds are not of the same size: {sizes}")
    return costs


def as_event(fields: Fields) -> Event:
    """
    Make an Event that holds what a ModelEvent of *fields* does, where an Event has it.
    """
    return Event(
        event_type="tool",
        inputs={name: fields[name] for name in _INPUTS if name in fields},
        outputs=fields.get("response"),
        metadata=fields.get("usage"),
        config={name: value for name, value in fields.items() if name not in _NOT_CONFIG},
        **{name: fields[name] for name in _SHARED if name in fields},
    )


_INPUTS = ("messages", "template_inputs")
_SHARED = ("project", "source", "event_name", "duration", "error")
_NOT_CONFIG = {*_INPUTS, *_SHARED, "response", "usage"}


def report(
    events: Sequence[Fields],
    measured: Measured,
    peers: Sequence[Peer] = PEERS,
    *,
    count: int = COUNT,
    warm_up: int = WARM_UP,
) -> Report:
    """
    Say what was *measured* means.
    """
    tracers = [peer for peer in peers if peer.trace is not None]
    rounds = f"{warm_up} rounds to warm up, then {len(measured.kinds[EVENT])}."
    kinds = Table(
        title="An event of either kind",
        setting=f"The same payloads, each event once a round, worker idle; {rounds}",
        figure=f"time of an event, over that of {MODEL_EVENT}",
        rows=_list_rows(measured.kinds, MODEL_EVENT, at_most={EVENT: AT_MOST_EVENT}),
    )
    setting = f"Two small arguments and a small result, {count} calls a round; {rounds}"
    described = "\n".join(f"- {peer.name}: {peer.trace_description}" for peer in tracers)
    tables = [kinds]
    for kind, costs in zip(KINDS, measured.calls, strict=True):
        added = {
            name: [cost - base for cost, base in zip(figures, costs[FUNCTION], strict=True)]
            for name, figures in costs.items()
        }
        del added[FUNCTION]
        theirs = {peer.name: added.pop(peer.name) for peer in tracers if peer.name in added}
        at_least = dict.fromkeys(theirs, AT_LEAST_PEER)
        tables += [
            Table(
                title=f"A call of a {kind}",
                setting=setting,
                figure=f"time of a call without that of the function, over that of {PUSH}",
                rows=_list_rows(added, PUSH, at_most={TRACE: AT_MOST_CALL}),
            ),
            Table(
                title=f"A call of a {kind}, beside other tracers",
                setting=f"{setting}\n\n{described}",
                figure=f"time of a call without that of the function, over that of {TRACE}",
                rows=_list_rows({TRACE: added[TRACE], **theirs}, TRACE, at_least=at_least),
            ),
        ]
    installed = [name for peer in tracers if not peer.missing for name in peer.needs]
    return Report(
        name="calls",
        question=__doc__.strip(),
        workload=describe(events),
        tables=tables,
        versions=find_versions(*installed),
    )


def _list_rows(
    costs: Costs,
    baseline: str,
    *,
    at_most: Mapping[str, float] = {},
    at_least: Mapping[str, float] = {},
) -> list[Row]:
    return [
        Row(
            name=name,
            figures=compare(figures, costs[baseline]),
            orientation=f"{median(figures) * 1e6:.2f} µs",
            at_most=at_most.get(name),
            at_least=at_least.get(name),
        )
        for name, figures in costs.items()
    ]


async def _measure_all(events: Sequence[Fields], sink: Sink) -> Measured:
    return Measured(kinds=await measure_kinds(events, sink), calls=await measure(sink))


def run(events: Sequence[Fields]) -> Report:
    with running_sink() as sink:
        return report(events, asyncio.run(_measure_all(events, sink)))


if __name__ == "__main__":
    answer(__doc__, run)
