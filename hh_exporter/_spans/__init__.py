"""
Spans of OpenTelemetry, read as events.

Each family of instrumentation is a module that reads its own attributes; what none of them
knows is kept in the event's metadata under its name.

Others use `mapping.event_of` and `span.Span`.
"""
