"""
Functions that users give as settings.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

__all__ = ["BeforeSend"]

BeforeSend: TypeAlias = Callable[[Any], Any]
"""
Gets a copy as plain data of each ModelEvent, Event, EventUpdate and SessionProperties,
and returns what is to be sent instead, or None to send nothing of it.
"""
