"""
Spans that a program ends, captured as events: which wait, which are one call, which led to which.

Knows nothing of OpenTelemetry: a tracer's span is read by a function that it is given. What
runs where a span begins or ends takes no lock and calls no code of others: a span may end in
the garbage collector, in any thread.

Others use `converter.Converter`, `lineage.Lineage`, `lineage.Started`,
`prices.Prices` and `pump.Pump`.
"""
