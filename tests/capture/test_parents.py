"""
Which event led to which, and in which session each is.
"""

from __future__ import annotations

import asyncio
import gc
from typing import Any
from uuid import UUID

import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from hh_exporter import Exporter, SessionProperties
from tests.capture.tracing import AGENT, CALL, OUTSIDE, TOOL, Traced
from tests.conftest import MakeExporter
from tests.scripted_server import ScriptedServer
from tests.support import settle

KNOWN = ("s", "c", "mine", "outer", "inner", "own", "random")
"""Sessions as tests name them."""


class Refusing(Sampler):
    """
    Samples away what is named so; what it does with others does not depend on their parents.
    """

    def should_sample(
        self,
        parent_context: Any,
        trace_id: int,
        name: str,
        kind: Any = None,
        attributes: Any = None,
        links: Any = None,
        trace_state: Any = None,
    ) -> SamplingResult:
        decisions = {"dropped": Decision.DROP, "recorded": Decision.RECORD_ONLY}
        return SamplingResult(decisions.get(name, Decision.RECORD_AND_SAMPLE), attributes)

    def get_description(self) -> str:
        return "by name"


async def test_steps_are_a_tree(traced: Traced, server: ScriptedServer) -> None:
    """
    Spans between steps that are none leave no hole, and events arrive in any order.
    """
    with traced.span("request", OUTSIDE), traced.span("agent", AGENT):
        with traced.span("http", OUTSIDE), traced.span("call"):
            pass
        with traced.span("tool", TOOL), traced.span("inner", OUTSIDE), traced.span("call 2"):
            pass

    tree = await traced.tree(server)

    assert tree == {"agent": None, "call": "agent", "tool": "agent", "call 2": "tool"}
    assert len({event["session_id"] for event in server.created}) == 1


async def test_what_ends_after_its_parent_has_it_still(
    traced: Traced, server: ScriptedServer
) -> None:
    """
    A stream that is read after its agent ended, and a flush in between, change nothing.
    """
    agent = traced.start("agent", AGENT)
    between = traced.start("http", OUTSIDE, agent)
    call = traced.start("call", CALL, between)
    agent.end()
    await traced.exporter.flush()
    between.end()
    gc.collect()
    call.end()

    assert await traced.tree(server) == {"agent": None, "call": "agent"}


async def test_a_parent_of_another_process_is_none(traced: Traced, server: ScriptedServer) -> None:
    """
    Whether a span of another process becomes an event is not known here.
    """
    remote = SpanContext(1, 2, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
    with traced.span("call", parent=NonRecordingSpan(remote)):
        pass

    events = await traced.sent(server)

    assert "parent_id" not in events["call"]
    assert events["call"]["session_id"] == str(UUID(int=1))


async def test_what_is_not_sampled_is_no_event(
    make_exporter: MakeExporter, server: ScriptedServer
) -> None:
    """
    The program's sampler decides; below what it left out there is no parent.
    """
    traced = Traced(await make_exporter(), sampler=Refusing())
    with traced.span("agent", AGENT):
        with traced.span("dropped", TOOL), traced.span("call"):
            pass
        with traced.span("recorded", TOOL), traced.span("call 2"):
            pass

    assert await traced.tree(server) == {"agent": None, "call": None, "call 2": "agent"}


async def test_only_calls(make_exporter: MakeExporter, server: ScriptedServer) -> None:
    """
    Where only calls are sent, what is around them is nobody's parent.
    """
    traced = Traced(await make_exporter(), only="model")
    with traced.span("agent", AGENT), traced.span("tool", TOOL), traced.span("call"):
        pass

    assert await traced.tree(server) == {"call": None}


async def test_two_providers_know_nothing_of_each_other(
    exporter: Exporter, server: ScriptedServer
) -> None:
    """
    The span of another provider may never be sent, so it is no parent.
    """
    one, other = Traced(exporter), Traced(exporter)
    with one.span("agent", AGENT), other.span("call"):
        pass

    assert await one.tree(server) == {"agent": None, "call": None}


async def test_an_instrumentation_that_says_late_what_it_does(
    traced: Traced, server: ScriptedServer
) -> None:
    """
    OpenInference sets its attributes when a span ends; until then it is taken for a step.
    """
    with traced.span("chain", {}, by="openinference.instrumentation.langchain") as chain:
        with traced.span("call"):
            pass
        await traced.exporter.flush()
        chain.set_attribute("openinference.span.kind", "CHAIN")

    assert await traced.tree(server) == {"chain": None, "call": "chain"}


class TestBlocks:
    """
    Spans, and the blocks of `record`, `trace` and `session`, inside one another.
    """

    async def test_a_step_around_spans(self, traced: Traced, server: ScriptedServer) -> None:
        """
        What is captured inside a step has it as its parent.
        """
        with traced.exporter.trace("step"), traced.span("request", OUTSIDE), traced.span("call"):
            pass

        assert await traced.tree(server) == {"step": None, "call": "step"}

    async def test_a_step_between_spans(self, traced: Traced, server: ScriptedServer) -> None:
        """
        The nearest of both kinds is the parent.
        """
        with (
            traced.exporter.session(session_id="s"),
            traced.span("agent", AGENT),
            traced.exporter.trace("step"),
            traced.span("call"),
        ):
            pass

        tree = await traced.tree(server)
        assert (tree["call"], tree["agent"]) == ("step", None)
        assert set((await traced.sessions(server, *KNOWN)).values()) == {"s"}

    async def test_a_step_that_has_ended(self, traced: Traced, server: ScriptedServer) -> None:
        """
        A span that began in a step belongs there, however late it ends.
        """
        with traced.exporter.trace("step"):
            span = traced.start("call")
        await traced.exporter.flush()
        span.end()

        assert await traced.tree(server) == {"step": None, "call": "step"}


class TestSessions:
    """
    Where a session is named, and how far that reaches.
    """

    async def test_named_on_the_span(self, traced: Traced, server: ScriptedServer) -> None:
        """
        A span that names one is in it, wherever it is.
        """
        with traced.exporter.session(session_id="around"):
            traced.end("call", attributes={**CALL, "session.id": "mine"})

        assert await traced.sessions(server, *KNOWN) == {"call": "mine"}

    async def test_named_on_a_span_around(self, traced: Traced, server: ScriptedServer) -> None:
        """
        What an agent's span names holds for what is inside, although that ends before.
        """
        with traced.span("agent", {**AGENT, "gen_ai.conversation.id": "c"}):
            with traced.span("tool", TOOL), traced.span("call"):
                pass
            await traced.exporter.flush()
            traced.end("call 2")
        traced.end("other")

        sessions = await traced.sessions(server, *KNOWN)
        other = sessions.pop("other")
        assert set(sessions.values()) == {"c"}
        assert other == str(UUID(other))

    async def test_named_on_a_span_beside(self, traced: Traced, server: ScriptedServer) -> None:
        """
        Of a trace in which one span names the session, those that end later are in it, too.
        """
        with traced.span("agent", AGENT):
            traced.end("first", attributes={**CALL, "session.id": "s"})
            traced.end("second")

        sessions = await traced.sessions(server, *KNOWN)
        assert sessions == {"agent": "s", "first": "s", "second": "s"}

    async def test_the_nearest_counts(self, traced: Traced, server: ScriptedServer) -> None:
        """
        A session that is entered inside a span that names one is nearer.
        """
        with traced.span("agent", {**AGENT, "session.id": "outer"}):
            with traced.exporter.session(session_id="inner"):
                traced.end("call")
            traced.end("call 2")

        sessions = await traced.sessions(server, *KNOWN)
        assert sessions == {"agent": "outer", "call": "inner", "call 2": "outer"}

    async def test_its_properties_are_announced_once(
        self, traced: Traced, server: ScriptedServer
    ) -> None:
        """
        The session of the exporter around spans is announced with the first of their events.
        """
        session = SessionProperties(session_id="s", session_name="a chat")
        with traced.exporter.session(session):
            traced.end("call", "call 2")
            await traced.exporter.flush()
            traced.end("call 3")
        await traced.exporter.flush()

        announced = [r.json.get("session_properties") for r in server.requests]
        assert [each["session_name"] for each in announced if each] == ["a chat"]
        assert set((await traced.sessions(server, *KNOWN)).values()) == {"s"}

    async def test_a_task_keeps_the_session_that_it_began_in(
        self, traced: Traced, server: ScriptedServer
    ) -> None:
        """
        A task that was started in a session is in it; one that enters another is in that one.
        """

        async def inherit() -> None:
            await asyncio.sleep(0)
            traced.end("inherited")

        async def enter() -> None:
            with traced.exporter.session(session_id="own"):
                await asyncio.sleep(0)
                traced.end("entered")

        with traced.exporter.session(session_id="outer"):
            tasks = [asyncio.create_task(main()) for main in (inherit, enter)]
        await asyncio.gather(*tasks)

        sessions = await traced.sessions(server, *KNOWN)
        assert sessions == {"inherited": "outer", "entered": "own"}

    async def test_a_made_up_session_gives_way(
        self, traced: Traced, server: ScriptedServer
    ) -> None:
        """
        pydantic-ai names a random conversation where none is given; a session around it is nearer.
        """
        made_up = {"gen_ai.conversation.id": "random"}

        def run(agent: str, call: str, tool: str) -> None:
            with traced.span(agent, AGENT | made_up, by="pydantic-ai"):
                traced.end(call, attributes=CALL | made_up, by="pydantic-ai")
                traced.end(tool, attributes=TOOL | made_up, by="pydantic-ai")

        with traced.exporter.session(session_id="s"):
            run("agent", "call", "tool")
        run("agent 2", "call 2", "tool 2")

        sessions = await traced.sessions(server, *KNOWN)
        assert sessions == {
            **dict.fromkeys(("agent", "call", "tool"), "s"),
            **dict.fromkeys(("agent 2", "call 2", "tool 2"), "random"),
        }


class TestDuplicates:
    """
    Calls that two instrumentations report, with the spans of both.
    """

    @pytest.mark.parametrize("flushes", [False, True])
    async def test_parent_and_child(
        self, traced: Traced, server: ScriptedServer, *, flushes: bool
    ) -> None:
        """
        A call inside a call is the same one, and what was below either has its parent.
        """
        with traced.span("agent", AGENT), traced.span("outer"):
            with traced.span("inner", {**CALL, "gen_ai.usage.input_tokens": 7}):
                traced.end("tool", attributes=TOOL)
                await traced.exporter.flush()
            if flushes:
                await traced.exporter.flush()

        tree = await traced.tree(server)
        assert tree == {"agent": None, "inner": "agent", "tool": "inner"}

    async def test_an_outer_call_that_is_abandoned(
        self, traced: Traced, server: ScriptedServer
    ) -> None:
        """
        If the outer span never ends, the inner call has its place.
        """
        with traced.span("agent", AGENT) as agent:
            outer = traced.start("outer", CALL, agent)
            inner = traced.start("inner", CALL, outer)
            traced.start("tool", TOOL, inner).end()
            await traced.exporter.flush()
            inner.end()
            await settle()
            del outer
            gc.collect()

        tree = await traced.tree(server)
        assert tree == {"agent": None, "inner": "agent", "tool": "inner"}

    @pytest.mark.parametrize("flushes", [False, True])
    async def test_two_traces(
        self, traced: Traced, server: ScriptedServer, *, flushes: bool
    ) -> None:
        """
        LangChain's span and its client's are in two traces; the response id joins them.
        """
        chain = traced.start("chain", AGENT)
        outer = traced.start("langchain", {**CALL, "gen_ai.response.id": "r"}, chain)
        with trace.use_span(trace.INVALID_SPAN):
            traced.end("client", attributes={**CALL, "gen_ai.response.id": "r"})
        if flushes:
            await traced.exporter.flush()
        outer.end()
        chain.end()

        tree = await traced.tree(server)
        assert tree == (
            {"chain": None, "client": None} if flushes else {"chain": None, "langchain": "chain"}
        )


async def test_ten_thousand_open_spans(traced: Traced, server: ScriptedServer) -> None:
    """
    Abandoned spans are forgotten, those that go on are not, and each ends at its place.
    """
    agent = traced.start("agent", AGENT)
    kept = [traced.start(f"http {number}", OUTSIDE, agent) for number in range(5_000)]
    for number in range(5_000):
        traced.start(f"abandoned {number}", OUTSIDE, agent)
    gc.collect()
    traced.start("first", CALL, kept[0]).end()
    await traced.exporter.flush()
    assert len(traced.events._lineage.spans) < 5_100
    traced.start("last", CALL, kept[-1]).end()
    agent.end()

    assert await traced.tree(server) == {"agent": None, "first": "agent", "last": "agent"}


async def test_spans_that_are_no_steps_leave_nothing_behind(traced: Traced) -> None:
    """
    A program that traces requests alone, for however long, pays with a bounded memory.
    """
    for number in range(25_000):
        traced.provider.get_tracer("http").start_span(str(number), Context()).end()

    assert len(traced.events._lineage.spans) <= 10_000
    assert not traced.events._pump.holds()
