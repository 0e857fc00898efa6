"""
Spans of OpenTelemetry, read as events of the v1 dialect.

Others use `mapping.event_of` and `span.Span`.
"""
