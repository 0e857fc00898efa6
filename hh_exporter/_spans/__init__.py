"""
Spans of OpenTelemetry, read as events.

Each family of instrumentation is a module that reads its own attributes; what none of them
knows is kept in the event's metadata under its name.

Others use `mapping.MARKS`, `mapping.event_id_of`, `mapping.event_of`, `mapping.kind_of`,
`mapping.session_of`, `span`, `span.STREAM_BEGAN` and `span.Span`.
"""
