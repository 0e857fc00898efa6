"""
Bodies of OTLP/HTTP: the spans in an ExportTraceServiceRequest, as JSON or as protobuf.

JSON is read as its senders write it, which is not always as the specification
has it: names of enumerations, null for nothing. What can't be a span is refused.
"""

from __future__ import annotations

import math
from base64 import b64encode
from typing import Any, Final, TypeAlias

from attrs import define

from hh_exporter._spans.span import STREAM_BEGAN, Span
from hh_exporter.exceptions import ExporterError

__all__ = ["OtlpError", "partial_success", "spans_in_json", "spans_in_protobuf"]

Json: TypeAlias = dict[str, Any]

_MAX_SPANS: Final = 100_000
_MAX_VALUES: Final = 1_000_000
_MAX_LEVELS: Final = 32
_MAX_SCOPE: Final = 1_000
"""Characters of an instrumentation's name: each of its spans repeats them."""
_INT64: Final = 2**63
_ERROR: Final = 2
"""STATUS_CODE_ERROR."""


class OtlpError(ExporterError):
    """
    A body is not what OTLP has.
    """


def spans_in_json(body: Json) -> list[Span]:
    """
    Read the spans of a request that was JSON.

    Raises `OtlpError`, which names fields and never a value.
    """
    found = [
        (span, origin)
        for one in _objects(body, "resourceSpans")
        for resource in [_json_attributes(_object(one, "resource"))]
        for many in _objects(one, "scopeSpans")
        for scope in [_object(many, "scope")]
        for origin in [_origin(resource, _text(scope, "name"), _text(scope, "version"))]
        for span in _objects(many, "spans")
    ]
    _check_count(len(found))
    return [_json_span(span, origin) for span, origin in found]


def spans_in_protobuf(body: bytes | bytearray) -> list[Span]:
    """
    Read the spans of a request that was protobuf.

    Raises `OtlpError`, and `ImportError` without the package opentelemetry-proto.
    """
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
        ExportTraceServiceRequest,
    )

    request = ExportTraceServiceRequest()
    try:
        request.ParseFromString(bytes(body))
    except DecodeError as exc:
        raise OtlpError("is not protobuf of an ExportTraceServiceRequest") from exc
    # Each of these may be as short as two bytes.
    _check_count(len(request.resource_spans))
    scopes = [one.scope_spans for one in request.resource_spans]
    _check_count(sum(map(len, scopes)))
    _check_count(sum(len(scope.spans) for many in scopes for scope in many))
    reader = _ProtobufReader()
    return [
        reader.span(span, origin)
        for one in request.resource_spans
        for resource in [reader.attributes(one.resource.attributes)]
        for many in one.scope_spans
        for origin in [_origin(resource, many.scope.name, many.scope.version)]
        for span in many.spans
    ]


def partial_success(refused: int, message: str) -> bytes:
    """
    Make an ExportTraceServiceResponse which says that so many spans were refused.
    """
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
        ExportTraceServiceResponse,
    )

    response = ExportTraceServiceResponse()
    response.partial_success.rejected_spans = refused
    response.partial_success.error_message = message
    return bytes(response.SerializeToString())


@define
class _ProtobufReader:
    """
    Reads messages of one request, up to so many values: each has as few as two bytes.
    """

    _values: int = 0

    def span(self, span: Any, origin: Json) -> Span:
        """
        Read a `Span`.
        """
        self._count(len(span.events))
        exceptions = [event for event in span.events if event.name == "exception"]
        times = [event.time_unix_nano for event in span.events if event.name == STREAM_BEGAN]
        return _span(
            trace_id=span.trace_id.hex(),
            span_id=span.span_id.hex(),
            parent_id=span.parent_span_id.hex(),
            name=span.name,
            start=span.start_time_unix_nano,
            end=span.end_time_unix_nano,
            is_error=span.status.code == _ERROR,
            description=span.status.message,
            attributes=self.attributes(span.attributes),
            exception=self.attributes(exceptions[-1].attributes) if exceptions else {},
            first_token=times[0] if times else None,
            **origin,
        )

    def attributes(self, pairs: Any) -> Json:
        """
        Read a list of `KeyValue`.
        """
        self._count(len(pairs))
        return {pair.key: self._value(pair.value) for pair in pairs}

    def _value(self, value: Any) -> Any:
        kind = value.WhichOneof("value")
        match kind:
            case None:
                return None
            case "array_value":
                self._count(len(value.array_value.values))
                return [self._value(one) for one in value.array_value.values]
            case "kvlist_value":
                return self.attributes(value.kvlist_value.values)
            case "bytes_value":
                return b64encode(value.bytes_value).decode()
            case "double_value":
                return _finite(value.double_value)
            case _:
                return getattr(value, kind)

    def _count(self, more: int) -> None:
        self._values += more
        if self._values > _MAX_VALUES:
            raise OtlpError(f"must have no more than {_MAX_VALUES:,} values")


def _origin(resource: Json, scope: str, version: str) -> Json:
    """
    Make the fields of a span that it shares with others: by whom it was made, and where.
    """
    if len(scope) > _MAX_SCOPE or len(version) > _MAX_SCOPE:
        raise OtlpError(f"scope: must have no more than {_MAX_SCOPE:,} characters")
    return {"resource": resource, "scope": scope, "scope_version": version}


def _json_span(span: Json, origin: Json) -> Span:
    status = _object(span, "status")
    events = _objects(span, "events")
    exceptions = [one for one in events if one.get("name") == "exception"]
    first = next((one for one in events if one.get("name") == STREAM_BEGAN), None)
    time = "timeUnixNano"
    return _span(
        trace_id=_text(span, "traceId").lower(),
        span_id=_text(span, "spanId").lower(),
        parent_id=_text(span, "parentSpanId").lower(),
        name=_text(span, "name"),
        start=_integer(span.get("startTimeUnixNano"), "startTimeUnixNano"),
        end=_integer(span.get("endTimeUnixNano"), "endTimeUnixNano"),
        is_error=status.get("code") in (_ERROR, "STATUS_CODE_ERROR"),
        description=_text(status, "message"),
        attributes=_json_attributes(span),
        exception=_json_attributes(exceptions[-1]) if exceptions else {},
        first_token=None if first is None else _integer(first.get(time), time),
        **origin,
    )


def _span(*, trace_id: str, span_id: str, parent_id: str, **fields: Any) -> Span:
    if not (_is_hex(trace_id, 32) and _is_hex(span_id, 16)):
        raise OtlpError("traceId and spanId: must be 32 and 16 hexadecimal digits")
    if parent_id and not _is_hex(parent_id, 16):
        raise OtlpError("parentSpanId: must be 16 hexadecimal digits")
    is_root = not parent_id or int(parent_id, 16) == 0
    return Span(
        trace_id=trace_id, span_id=span_id, parent_id=None if is_root else parent_id, **fields
    )


def _json_attributes(owner: Json) -> Json:
    return _json_pairs(_objects(owner, "attributes"), 0)


def _json_pairs(pairs: list[Json], level: int) -> Json:
    return {_text(pair, "key"): _json_value(pair.get("value"), level) for pair in pairs}


def _json_value(value: object, level: int) -> Any:
    if value is None or value == {}:
        return None
    if level > _MAX_LEVELS:
        raise OtlpError(f"value: must not have more than {_MAX_LEVELS} levels")
    match value:
        case {"stringValue": str(text)} | {"bytesValue": str(text)}:
            return text
        case {"boolValue": bool(flag)}:
            return flag
        case {"intValue": whole}:
            return _integer(whole, "intValue")
        case {"doubleValue": number}:
            return _number(number)
        case {"arrayValue": dict(array)}:
            return [_json_value(one, level + 1) for one in _objects(array, "values")]
        case {"kvlistValue": dict(pairs)}:
            return _json_pairs(_objects(pairs, "values"), level + 1)
        case _:
            raise OtlpError("value: must be an AnyValue")


def _objects(owner: Json, name: str) -> list[Json]:
    values = owner.get(name)
    if values is None:
        return []
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise OtlpError(f"{name}: must be an array of objects")
    return values


def _object(owner: Json, name: str) -> Json:
    value = owner.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise OtlpError(f"{name}: must be an object")
    return value


def _text(owner: Json, name: str) -> str:
    value = owner.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise OtlpError(f"{name}: must be a string")
    return value


def _integer(value: object, name: str) -> int:
    if value is None:
        return 0
    if isinstance(value, str) and len(value) <= 20:  # 64 bits; protobuf's JSON has them as text
        try:
            value = int(value)
        except ValueError:
            value = None
    if type(value) is not int or not -_INT64 <= value < 2 * _INT64:
        raise OtlpError(f"{name}: must be an integer of 64 bits")
    return value


def _number(value: object) -> float | None:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            value = None
    if type(value) not in (int, float):
        raise OtlpError("doubleValue: must be a number")
    return _finite(value)


def _finite(number: Any) -> float | None:
    return number if math.isfinite(number) else None


def _is_hex(text: str, length: int) -> bool:
    return len(text) == length and all(digit in "0123456789abcdef" for digit in text)


def _check_count(count: int) -> None:
    if count > _MAX_SPANS:
        raise OtlpError(f"must have no more than {_MAX_SPANS:,} spans")
