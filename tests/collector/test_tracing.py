"""
POST /opentelemetry/v1/traces: OTLP as JSON and as protobuf.
"""

from __future__ import annotations

import gzip
import io
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientSession
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from hh_exporter._collector import Collector, Faults
from tests.collector_client import post, refusal, stored

TRACES = "/opentelemetry/v1/traces"
PROTOBUF = "application/x-protobuf"
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
SPAN: dict[str, Any] = {
    "traceId": TRACE_ID,
    "spanId": "b7ad6b7169203331",
    "name": "chat gpt-4o",
    "startTimeUnixNano": "1700000000000000000",
    "endTimeUnixNano": "1700000000820500000",
}


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with Collector() as collector:
        yield collector


def request_of(*spans: dict[str, Any]) -> dict[str, Any]:
    return {"resourceSpans": [{"scopeSpans": [{"spans": list(spans)}]}]}


def attribute(key: str, **value: Any) -> dict[str, Any]:
    return {"key": key, "value": value}


def protobuf(**attributes: AnyValue) -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    span = request.resource_spans.add().scope_spans.add().spans.add()
    span.trace_id = bytes.fromhex(TRACE_ID)
    span.span_id = b"12345678"
    span.name = "work"
    span.start_time_unix_nano, span.end_time_unix_nano = 1_000_000, 3_500_000
    span.attributes.extend(KeyValue(key=key, value=value) for key, value in attributes.items())
    return request


async def send(collector: Collector, body: bytes, **headers: str) -> tuple[int, str | None, bytes]:
    headers = {"Content-Type": PROTOBUF, **headers}
    async with (
        ClientSession(collector.url) as client,
        client.post(TRACES, data=io.BytesIO(body), headers=headers) as response,
    ):
        return response.status, response.content_type, await response.read()


class TestJson:
    """
    A request that is JSON.
    """

    async def test_each_span_is_an_event(self, collector: Collector) -> None:
        """
        Of whichever resource and scope, in the order of the request.
        """
        body = request_of(SPAN, {**SPAN, "spanId": "00f067aa0ba902b7", "name": "other"})
        body["resourceSpans"] += request_of({**SPAN, "name": "third"})["resourceSpans"]

        answer = await post(collector, TRACES, body)

        assert answer == (200, {})
        found = await stored(collector)
        assert [one.event["event_name"] for one in found] == ["chat gpt-4o", "other", "third"]
        assert {one.path for one in found} == {TRACES}
        assert [one.event_id for one in found] == [one.event["event_id"] for one in found]

    async def test_values_are_what_they_were(self, collector: Collector) -> None:
        """
        Integers are text in OTLP's JSON; lists and objects have forms of their own.
        """
        listed = {"values": [{"intValue": "1"}, {}, {"boolValue": False}]}
        pairs = {"values": [attribute("deep", doubleValue=0.5)]}
        span = {
            **SPAN,
            "attributes": [
                attribute("text", stringValue="ü"),
                attribute("whole", intValue=-7),
                attribute("list", arrayValue=listed),
                attribute("object", kvlistValue=pairs),
                attribute("bytes", bytesValue="AAE="),
                attribute("none"),
                attribute("infinite", doubleValue="Infinity"),
            ],
        }
        assert (await post(collector, TRACES, request_of(span)))[0] == 200

        [found] = await stored(collector)
        metadata = found.event["metadata"]
        assert metadata.pop("trace_id") == TRACE_ID
        assert metadata == {
            "span_id": "b7ad6b7169203331",
            "text": "ü",
            "whole": -7,
            "list": [1, None, False],
            "object": {"deep": 0.5},
            "bytes": "AAE=",
            "none": None,
            "infinite": None,
        }

    @pytest.mark.parametrize(
        ("scope", "told"),
        [
            ({"name": "maker", "version": "1.2"}, {"scope": "maker@1.2"}),
            ({"name": "maker", "version": None}, {"scope": "maker"}),
            (None, {}),
        ],
    )
    async def test_it_says_who_made_the_span(
        self, collector: Collector, scope: object, told: dict[str, str]
    ) -> None:
        """
        By the name and version of the instrumentation, if there are any.
        """
        body = request_of(SPAN)
        body["resourceSpans"][0]["scopeSpans"][0]["scope"] = scope

        assert await post(collector, TRACES, body) == (200, {})

        [found] = await stored(collector)
        ids = {"trace_id": TRACE_ID, "span_id": SPAN["spanId"]}
        assert found.event["metadata"] == ids | told

    async def test_the_first_token_is_timed(self, collector: Collector) -> None:
        """
        By the event that OpenInference adds to the span of a stream, in either encoding.
        """
        kind = "openinference.span.kind"
        event = {"name": "First Token Stream Event", "timeUnixNano": "1700000000000500000"}
        span = {**SPAN, "attributes": [attribute(kind, stringValue="LLM")], "events": [event]}
        request = protobuf(**{kind: AnyValue(string_value="LLM")})
        request.resource_spans[0].scope_spans[0].spans[0].events.add(
            name=event["name"], time_unix_nano=1_250_000
        )

        assert await post(collector, TRACES, request_of(span)) == (200, {})
        assert (await send(collector, request.SerializeToString()))[0] == 200

        found = [one.event["metrics"] for one in await stored(collector)]
        assert found == [{"time_to_first_token": 0.5}, {"time_to_first_token": 0.25}]

    async def test_an_error_is_the_last_exception(self, collector: Collector) -> None:
        """
        The status may be a number or its name.
        """
        for code in (2, "STATUS_CODE_ERROR"):
            exceptions = [
                {
                    "name": "exception",
                    "attributes": [attribute("exception.message", stringValue=text)],
                }
                for text in ("first", "last")
            ]
            span = {**SPAN, "status": {"code": code}, "events": exceptions, "parentSpanId": None}
            assert (await post(collector, TRACES, request_of(span)))[0] == 200

        assert [one.event["error"] for one in await stored(collector)] == ["last", "last"]

    @pytest.mark.parametrize(
        ("body", "problem"),
        [
            ({"resourceSpans": {}}, "resourceSpans: must be an array"),
            ({"resourceSpans": [1]}, "resourceSpans: must be an array of objects"),
            ({"resourceSpans": [{"resource": 1}]}, "resource: must be an object"),
            (
                {"resourceSpans": [{"scopeSpans": [{"scope": {"name": "m" * 1_001}}]}]},
                "scope: must have no more than 1,000 characters",
            ),
            (request_of({}), "traceId and spanId: must be 32 and 16 hexadecimal digits"),
            (
                request_of({**SPAN, "parentSpanId": "x"}),
                "parentSpanId: must be 16 hexadecimal digits",
            ),
            (request_of({**SPAN, "name": 1}), "name: must be a string"),
            (
                request_of({**SPAN, "endTimeUnixNano": "9" * 5000}),
                "endTimeUnixNano: must be an integer of 64 bits",
            ),
            (
                request_of({**SPAN, "attributes": [attribute("a", intValue="9" * 20)]}),
                "intValue: must be an integer of 64 bits",
            ),
            (
                request_of({**SPAN, "attributes": [attribute("a", doubleValue="x")]}),
                "doubleValue: must be a number",
            ),
            (
                request_of({**SPAN, "attributes": [attribute("a", otherValue=1)]}),
                "value: must be an AnyValue",
            ),
        ],
    )
    async def test_what_is_no_request_is_refused(
        self, collector: Collector, body: object, problem: str
    ) -> None:
        """
        With a text that names the field and no value; nothing is stored.
        """
        assert await post(collector, TRACES, body) == refusal(f"body: {problem}")
        assert await collector.count() == 0

    async def test_deep_json_in_a_text_is_kept(self, collector: Collector) -> None:
        """
        As deep as it can be read.
        """
        deep = '{"a":' * 900 + "1" + "}" * 900
        names = ("honeyhive_inputs.deep", "gen_ai.input.messages", "honeyhive_metadata")
        attributes = [attribute(name, stringValue=deep) for name in names]
        body = request_of({**SPAN, "attributes": attributes})

        assert await post(collector, TRACES, body) == (200, {})

        assert (await stored(collector))[0].event["inputs"]["deep"]["a"]["a"]

    async def test_a_deep_value_is_refused(self, collector: Collector) -> None:
        """
        Before it is deeper than can be read.
        """
        value: dict[str, Any] = {"stringValue": "x"}
        for _ in range(40):
            value = {"arrayValue": {"values": [value]}}
        body = request_of({**SPAN, "attributes": [{"key": "a", "value": value}]})

        status, answer = await post(collector, TRACES, body)

        assert (status, answer["message"]) == (
            400,
            "body: value: must not have more than 32 levels",
        )


class TestProtobuf:
    """
    A request that is protobuf.
    """

    @pytest.mark.parametrize("encoding", ["identity", "gzip"])
    async def test_each_span_is_an_event(self, collector: Collector, encoding: str) -> None:
        """
        The answer is protobuf, too: an empty message.
        """
        value = AnyValue()
        value.array_value.values.extend(
            [AnyValue(int_value=1), AnyValue(), AnyValue(bool_value=True)]
        )
        pairs = AnyValue()
        pairs.kvlist_value.values.add(key="deep", value=AnyValue(double_value=float("nan")))
        request = protobuf(text=AnyValue(string_value="ü"), list=value, object=pairs)
        body = request.SerializeToString()

        answer = await send(
            collector,
            gzip.compress(body) if encoding == "gzip" else body,
            **{"Content-Encoding": encoding},
        )

        assert answer == (200, PROTOBUF, b"")
        [found] = await stored(collector)
        event = found.event
        assert (event["event_name"], event["start_time"], event["duration"]) == ("work", 1, 2.5)
        expected = {"text": "ü", "list": [1, None, True], "object": {"deep": None}}
        assert event["metadata"].items() >= expected.items()

    async def test_it_says_who_made_the_span(self, collector: Collector) -> None:
        """
        By the name and version of the instrumentation.
        """
        request = protobuf()
        scope = request.resource_spans[0].scope_spans[0].scope
        scope.name, scope.version = "maker", "1.2"

        assert (await send(collector, request.SerializeToString()))[0] == 200

        [found] = await stored(collector)
        assert found.event["metadata"]["scope"] == "maker@1.2"

    async def test_what_is_no_protobuf_is_refused(self, collector: Collector) -> None:
        """
        The text says what it should have been.
        """
        status, content_type, answer = await send(collector, b"{}")

        assert (status, content_type) == (400, "application/json")
        assert b"is not protobuf of an ExportTraceServiceRequest" in answer

    async def test_many_small_values_are_refused(self, collector: Collector) -> None:
        """
        Each takes a hundred times its two bytes once it is read.
        """
        request = protobuf()
        span = request.resource_spans[0].scope_spans[0].spans[0]
        span.attributes.extend([KeyValue()] * 1_000_001)

        status, _, answer = await send(collector, request.SerializeToString())

        assert (status, b"no more than 1,000,000 values" in answer) == (400, True)

    async def test_without_the_library_it_is_415(
        self, collector: Collector, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """
        The text says what to install, and what to do without.
        """
        monkeypatch.setitem(
            sys.modules, "opentelemetry.proto.collector.trace.v1.trace_service_pb2", None
        )

        status, _, answer = await send(collector, protobuf().SerializeToString())

        assert status == 415
        assert b"pip install opentelemetry-proto" in answer


async def test_a_partial_fault_refuses_every_second_span() -> None:
    """
    The answer says how many, as OTLP has it, in either encoding.
    """
    async with Collector(faults=Faults(faults={"partial": 1.0})) as collector:
        status, answer = await post(collector, TRACES, request_of(SPAN, SPAN, SPAN))
        request = protobuf()
        request.resource_spans.append(request.resource_spans[0])
        _, _, body = await send(collector, request.SerializeToString())

        assert await collector.count() == 3
    assert (status, answer["partialSuccess"]["rejectedSpans"]) == (200, "1")
    assert ExportTraceServiceResponse.FromString(body).partial_success.rejected_spans == 1


async def test_a_fault_fails_it() -> None:
    """
    As it does the other routes that take events.
    """
    async with Collector(faults=Faults(faults={"503": 1.0})) as collector:
        status, answer = await post(collector, TRACES, request_of(SPAN))

        assert (status, answer["errorCode"]) == (503, "injected_fault")
        assert await collector.count() == 0
