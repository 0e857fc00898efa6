"""
Which calls the integrations of an exporter report, so that each call is reported once.

A call is known by the provider's response id; the calls of a library, by its instrumentation.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from typing import Final, Protocol
from weakref import WeakKeyDictionary, WeakSet

from hh_exporter import Exporter

__all__ = ["Reporter", "claim", "is_reported", "register"]

_MAX: Final = 1_000
"""Calls that are known of an exporter; the oldest are forgotten."""


class Reporter(Protocol):
    """
    An integration that reports all calls of one library.
    """

    @property
    def library(self) -> str:
        """
        The name of the instrumentation that makes spans of the same calls.
        """

    def is_active(self) -> bool:
        """
        Whether the library reports calls to it at the moment.
        """


_claimed: WeakKeyDictionary[Exporter, OrderedDict[str, str]] = WeakKeyDictionary()
os.register_at_fork(after_in_child=_claimed.clear)  # what its parent pushed is its parent's

_reporters: WeakKeyDictionary[Exporter, WeakSet[Reporter]] = WeakKeyDictionary()


def claim(exporter: Exporter, response_id: str, by: str) -> bool:
    """
    Claim the call with the provider's *response_id* for the integration *by*, which pushes it.

    Returns:
        Whether no other integration has done that before.
    """
    known = _claimed.setdefault(exporter, OrderedDict())
    owner = known.setdefault(response_id, by)
    if len(known) > _MAX:
        known.popitem(last=False)
    return owner == by


def register(exporter: Exporter, reporter: Reporter) -> None:
    """
    Note that *reporter* reports the calls of its library to *exporter*, for as long as it lives.
    """
    _reporters.setdefault(exporter, WeakSet()).add(reporter)


def is_reported(exporter: Exporter, instrumentation: str) -> bool:
    """
    Whether another integration reports the calls that *instrumentation* makes spans of.
    """
    return any(
        reporter.library == instrumentation and reporter.is_active()
        for reporter in tuple(_reporters.get(exporter, ()))
    )
