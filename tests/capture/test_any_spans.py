"""
Whatever spans a program makes, in whatever order they end, each is reported once, below a parent
that is sent.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Sequence
from typing import Any

from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import Span

from hh_exporter import BatchLimits, Exporter
from hh_exporter.events import AnyEvent
from tests.capture.tracing import AGENT, CALL, OUTSIDE, TOOL, Traced
from tests.support import FakeClock, assert_balanced, settle

_KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "call": ("opentelemetry.instrumentation.genai.openai", CALL),
    "same": ("com.anthropic.sdk.python", {**CALL, "gen_ai.response.id": "r"}),
    "agent": ("opentelemetry.instrumentation.genai.openai_agents", AGENT),
    "tool": ("langfuse-sdk", {"langfuse.observation.type": "tool"}),
    "chain": ("openinference.instrumentation.langchain", {"openinference.span.kind": "CHAIN"}),
    "llm": ("openinference.instrumentation.openai", {"openinference.span.kind": "LLM"}),
    "function": ("opentelemetry.instrumentation.genai.openai_agents", TOOL),
    "named": ("pydantic-ai", {**AGENT, "session.id": "s"}),
    "http": ("opentelemetry.instrumentation.httpx", OUTSIDE),
}
_CALLS = {"call", "same", "llm"}
_STEPS = _KINDS.keys() - {"http"}


@frozen
class Made:
    """
    A span to be made: of a kind, below one that was made before.
    """

    kind: str
    parent: int | None


@st.composite
def trees(draw: st.DrawFn) -> list[Made]:
    kinds = draw(st.lists(st.sampled_from(sorted(_KINDS)), min_size=1, max_size=12))
    parents = [draw(st.none() | st.integers(0, n - 1)) if n else None for n in range(len(kinds))]
    return [Made(kind, parent) for kind, parent in zip(kinds, parents, strict=True)]


class Keeping(Exporter):
    """
    An exporter that keeps what is pushed.
    """

    pushed: list[AnyEvent]

    def push(self, event: AnyEvent, session: Any = None) -> bool:
        self.pushed.append(event)
        return super().push(event, session)


def is_told_once(tree: Sequence[Made], pushed: Sequence[AnyEvent], abandoned: set[int]) -> None:
    """
    Check that each step that ended is in one event, and each parent is an event.
    """
    ids = [event.event_id for event in pushed]
    assert len(ids) == len(set(ids))
    names = [event.event_name for event in pushed]
    assert len(names) == len(set(names))
    for number, made in enumerate(tree):
        if made.kind in _STEPS - _CALLS and number not in abandoned:
            assert f"{made.kind} {number}" in names
    assert not [name for name in names if name and name.startswith("http")]
    # Two spans of one response, in two traces, that are parents of others: only one can be sent.
    parents = {made.parent for made in tree if made.parent is not None}
    is_torn = sum(tree[number].kind == "same" for number in parents) > 1
    if not abandoned and not is_torn:
        assert {event.parent_id for event in pushed} - {None} <= set(ids)
    if not abandoned:
        calls = [m for m in tree if m.kind in _CALLS]
        assert bool(calls) == any(name and name.split()[0] in _CALLS for name in names)


@given(trees(), st.data())
def test_whatever_spans_end(tree: list[Made], data: st.DataObject) -> None:
    """
    Nothing is lost without being counted, reported twice, or below what is not sent.
    """
    order = data.draw(st.permutations(range(len(tree))), "order of ends")
    abandoned = set(data.draw(st.lists(st.integers(0, len(tree) - 1), max_size=2), "abandoned"))
    between = data.draw(
        st.lists(
            st.sampled_from(["nothing", "settle", "second", "minute", "flush", "thread"]),
            min_size=len(tree),
            max_size=len(tree),
        ),
        "what happens between",
    )

    async def main() -> None:
        clock = FakeClock()
        exporter = Keeping(
            "k", base_url="http://127.0.0.1:9", batch=BatchLimits(linger=1e6), _clock=clock
        )
        exporter.pushed = []
        traced = Traced(exporter)
        spans: list[Any] = []
        for number, made in enumerate(tree):
            by, attributes = _KINDS[made.kind]
            is_late = by.startswith(("openinference", "langfuse"))
            parent = None if made.parent is None else spans[made.parent]
            name = f"{made.kind} {number}"
            spans.append(traced.start(name, {} if is_late else attributes, parent, by=by))
        del parent
        for number, then in zip(order, between, strict=True):
            span, spans[number] = spans[number], None
            if number not in abandoned:
                await end(span, tree[number], by_thread=then == "thread")
            del span
            if then in ("settle", "flush"):
                await settle()
            elif then in ("second", "minute"):
                await clock.advance({"second": 1.0, "minute": 60.0}[then])
            if then == "flush":
                traced.events._pump.give()
        if abandoned:
            gc.collect()
        await exporter.aclose(0.0)

        stats = assert_balanced(exporter)
        assert stats.pushed == len(exporter.pushed)
        is_told_once(tree, exporter.pushed, abandoned)

    asyncio.run(main())


async def end(span: Span, made: Made, *, by_thread: bool) -> None:
    span.set_attributes(_KINDS[made.kind][1])
    if by_thread:
        await asyncio.to_thread(span.end)
    else:
        span.end()
