"""
Asynchronous, buffered export of LLM model events to the HoneyHive API.
"""

from hh_exporter._delivery.batcher import BatchLimits
from hh_exporter._delivery.retry import RetryPolicy
from hh_exporter._exporter import Exporter
from hh_exporter._outcomes import DropReason, FlushResult, Outcome, Settlement, Stats
from hh_exporter._queue.budget import QueueLimits
from hh_exporter._spool import Spool
from hh_exporter._version import __version__
from hh_exporter.events import ModelEvent, SessionProperties
from hh_exporter.exceptions import ConfigError, DeliveryError, ExporterError

__all__ = [
    "BatchLimits",
    "ConfigError",
    "DeliveryError",
    "DropReason",
    "Exporter",
    "ExporterError",
    "FlushResult",
    "ModelEvent",
    "Outcome",
    "QueueLimits",
    "RetryPolicy",
    "SessionProperties",
    "Settlement",
    "Spool",
    "Stats",
    "__version__",
]
