"""
The floor: what any caller must pay for an event, whoever sends it.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable

import orjson

from benchmarks._workload import Fields

__all__ = ["pay_floor"]


def pay_floor(keep: Callable[[bytes], None], fields: Fields) -> None:
    """
    Stamp and encode the cheapest dict of ready values there is: none is looked at.
    """
    wire = {**fields, "event_id": str(uuid.uuid4()), "end_time": time.time() * 1000}
    keep(orjson.dumps(wire))
