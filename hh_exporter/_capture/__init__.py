"""
Ended spans as events: when they are read, which are one call, and which is whose parent.

Knows nothing of OpenTelemetry: a function that it is given reads the tracer's span. What runs
where a span begins or ends takes no lock and calls nobody else's code, since a span may end in the
garbage collector, in any thread.

Others use `converter.Converter`, `lineage.Lineage`, `lineage.Started`,
`prices.Prices` and `pump.Pump`.
"""
