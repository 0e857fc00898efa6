"""
Asynchronous, buffered export of LLM calls and agent traces to the HoneyHive API.
"""

from hh_exporter._exporter import Exporter, ThreadedExporter
from hh_exporter._outcomes import DropReason, FlushResult, Outcome, Settlement, Stats
from hh_exporter._responses.call import ModelCall
from hh_exporter._settings.batch import BatchLimits
from hh_exporter._settings.jetstream import JetStream
from hh_exporter._settings.queue import QueueLimits
from hh_exporter._settings.retry import RetryPolicy
from hh_exporter._settings.spool import Spool
from hh_exporter._version import __version__
from hh_exporter.events import Event, EventUpdate, ModelEvent, SessionProperties
from hh_exporter.exceptions import ConfigError, DeliveryError, ExporterError

__all__ = [
    "BatchLimits",
    "ConfigError",
    "DeliveryError",
    "DropReason",
    "Event",
    "EventUpdate",
    "Exporter",
    "ExporterError",
    "FlushResult",
    "JetStream",
    "ModelCall",
    "ModelEvent",
    "Outcome",
    "QueueLimits",
    "RetryPolicy",
    "SessionProperties",
    "Settlement",
    "Spool",
    "Stats",
    "ThreadedExporter",
    "__version__",
]
