"""
Which calls an integration has pushed, so that no other one of the same exporter tells them again.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Final
from weakref import WeakKeyDictionary

from hh_exporter import Exporter

__all__ = ["claim"]

_MAX: Final = 1_000
"""Calls that are known of an exporter; the oldest are forgotten."""

_told: WeakKeyDictionary[Exporter, dict[str, str]] = WeakKeyDictionary()
os.register_at_fork(after_in_child=_told.clear)  # what its parent pushed is its parent's


def claim(exporter: Exporter, response_id: str, by: str) -> bool:
    """
    Say that the integration *by* pushes the call with the provider's *response_id*.

    Returns:
        Whether no other integration has done that before.
    """
    known = _told.setdefault(exporter, {})
    owner = known.setdefault(response_id, by)
    if len(known) > _MAX:
        with suppress(RuntimeError):  # another thread adds one just now
            known.pop(next(iter(known)), None)
    return owner == by
