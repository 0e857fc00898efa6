"""
Spans of OpenTelemetry, read as events.

`mapping` makes the event of a `span`. Each family of instrumentation is a module that reads its
own attributes, with modules for the shapes that only it has:

- `genai`: OpenTelemetry's conventions, as its own packages, OpenLLMetry, pydantic-ai, LiteLLM and
  the anthropic client write them: `messages` and their `content`, `steps`, `litellm`.
- `openinference`: `invocation` (parameters), `turns` (messages), `answers` (whole responses),
  `values` (inputs and outputs of steps).
- `langfuse`: `generations` (messages), `counts` (usage).
- `honeyhive`: the vendor's own tracers.

They share `attributes`, `parts`, `providers`, `tools` and `usage`; `endings` decides how a step
ended. The rule: an attribute that nobody reads is kept in the event's metadata, under its name.

Others use `mapping.MARKS`, `mapping.event_id_of`, `mapping.event_of`, `mapping.kind_of`,
`mapping.session_of`, `span`, `span.STREAM_BEGAN` and `span.Span`.
"""
