"""
A HoneyHive-compatible server for the developer's own machine.

A program of its own: the exporter knows nothing of it.
"""

from hh_exporter._collector.faults import Faults
from hh_exporter._collector.server import Collector, StoredEvent, StoredSession

__all__ = ["Collector", "Faults", "StoredEvent", "StoredSession"]
