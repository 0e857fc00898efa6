"""
The bodies that the sink reads: ours, and those of the clients that we are compared with.

One rule: events are counted by the ids in the body, and no more of it is read
than that takes. A sink that builds each event is the bottleneck of all that is
faster than it, and then the figures are its own.
"""

from __future__ import annotations

import gzip
import re
import uuid
from collections.abc import Callable, Mapping
from typing import TypeAlias

import orjson
from attrs import field, frozen

try:
    from isal import igzip
except ImportError:
    igzip = None  # type: ignore[assignment]

__all__ = ["Answer", "read"]

Body: TypeAlias = bytes | memoryview
"""What came; a memoryview is not good for longer than the call."""

_HEAD = re.compile(rb"(\w+ [^ ?]+)")
_ENCODING = re.compile(rb"\r\ncontent-encoding: *(\w+)\r\n", re.IGNORECASE)
_EVENT = re.compile(rb'"event_id": ?"([^"]+)"')
"""An event's id. JSON escapes the quotes in a text: none can look like this key."""
_RUN = re.compile(rb'\r\nContent-Disposition: form-data; name="post\.([0-9a-f-]{36})"\r\n')
"""The head of a run's first part. JSON has no bare line breaks: it can't hold one."""

_SPAN = re.compile(rb'"spanId": ?"([^"]+)"')
"""A span's id, of OTLP as JSON, which the vendor's tracer sends."""

# What the hosted service tells its client to do.
_LANGSMITH_INFO = {
    "version": "0.10.0",
    "instance_flags": {"zstd_compression_enabled": True},
    "batch_ingest_config": {
        "use_multipart_endpoint": True,
        "scale_up_qsize_trigger": 1000,
        "scale_up_nthreads_limit": 16,
        "scale_down_nempty_trigger": 4,
        "size_limit": 100,
        "size_limit_bytes": 20_971_520,
    },
}


@frozen(kw_only=True)
class Answer:
    """
    What a request is answered with, and the ids of the events that it brought.
    """

    content: bytes
    ids: list[bytes] = field(factory=list)
    status: bytes = b"200 OK"
    content_type: bytes = b"application/json"
    headers: bytes = b""
    """Further ones, each with the end of its line."""


def read(head: bytes, body: Body) -> Answer:
    """
    Read a request as the service would that it is meant for.

    Args:
        head: The request line and the headers.
        body: All of it, as it came.
    """
    route = _HEAD.match(head)
    reader = _READERS.get(route[1]) if route else None
    if reader is None:
        return Answer(status=b"404 Not Found", content=b"{}")
    encoding = _ENCODING.search(head)
    return reader(_DECODERS[encoding[1]](body) if encoding else body)


def _read_events(body: Body) -> Answer:
    ids = _EVENT.findall(body)
    return Answer(ids=ids, content=b'{"event_ids":["%b"],"success":true}' % b'","'.join(ids))


def _read_event(body: Body) -> Answer:
    [event_id] = _EVENT.findall(body)
    return Answer(ids=[event_id], content=b'{"event_id":"%b","success":true}' % event_id)


def _read_info(_: Body) -> Answer:
    return Answer(content=orjson.dumps(_LANGSMITH_INFO))


def _read_runs(body: Body) -> Answer:
    content = b'{"message":"Runs batch ingested"}'
    return Answer(ids=_RUN.findall(body), content=content, status=b"202 Accepted")


def _read_spans(body: Body) -> Answer:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
        ExportTraceServiceRequest,
        ExportTraceServiceResponse,
    )

    ids = [
        span.span_id
        for resource in ExportTraceServiceRequest.FromString(bytes(body)).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    content = ExportTraceServiceResponse().SerializeToString()
    return Answer(ids=ids, content=content, content_type=b"application/x-protobuf")


def _read_json_spans(body: Body) -> Answer:
    return Answer(ids=_SPAN.findall(body), content=b"{}")


def _start_session(_: Body) -> Answer:
    ids = ("session_id", "event_id", "org_id", "workspace_id", "project_id")
    return Answer(content=orjson.dumps(dict.fromkeys(ids, str(uuid.uuid4()))))


def _unpack_gzip(body: Body) -> bytes:
    if igzip is not None:
        content: bytes = igzip.decompress(body)  # type: ignore[no-untyped-call]
        return content
    return gzip.decompress(body)


def _unpack_zstd(body: Body) -> bytes:
    from zstandard import ZstdDecompressor

    # A frame that was streamed does not name its size.
    content: bytes = ZstdDecompressor().decompressobj().decompress(body)
    return content


_READERS: Mapping[bytes, Callable[[Body], Answer]] = {
    b"POST /events/model/batch": _read_events,
    b"POST /events/model": _read_event,
    b"POST /events/batch": _read_events,
    b"GET /info": _read_info,
    b"POST /runs/multipart": _read_runs,
    b"POST /v1/traces": _read_spans,
    b"POST /opentelemetry/v1/traces": _read_json_spans,
    b"POST /session/start": _start_session,
}
_DECODERS: Mapping[bytes, Callable[[Body], bytes]] = {b"gzip": _unpack_gzip, b"zstd": _unpack_zstd}
