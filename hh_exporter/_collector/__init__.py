"""
A HoneyHive-compatible server for the developer's own machine.

`ingest` accepts what clients send, `query` answers what readers ask, and both rest on
`storage`; the other modules are the HTTP server around them and its page. It is a separate
program: the exporter doesn't know it.
"""

from hh_exporter._collector.ingest.faults import Faults
from hh_exporter._collector.server import Collector, StoredEvent, StoredSession

__all__ = ["Collector", "Faults", "StoredEvent", "StoredSession"]
