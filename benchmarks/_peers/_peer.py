"""
What a client must offer to be measured beside the exporter.

One rule: it starts with the events as they are wherever models are called, dicts
of their fields, and is done when the last of them is acknowledged.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from importlib.metadata import PackageNotFoundError, version
from typing import TypeAlias

from attrs import frozen

from benchmarks._workload import Fields

__all__ = ["Peer", "Send", "Start"]

Send: TypeAlias = Callable[[], Awaitable[None]]
"""Sends all events once; how many arrived is for the sink to say."""

Start: TypeAlias = Callable[[str, Sequence[Fields]], AbstractAsyncContextManager[Send]]
"""Starts a client of the server at the URL that is to send the events."""


@frozen(kw_only=True)
class Peer:
    """
    A client that others would use instead, set up as its manual says.
    """

    name: str
    setting: str
    """How it is set up."""
    start: Start
    needs: Sequence[str] = ()
    """The distributions to install."""

    @property
    def missing(self) -> Sequence[str]:
        """
        Name the distributions that are not installed.
        """
        return [name for name in self.needs if not _is_installed(name)]

    @property
    def description(self) -> str:
        """
        Say how it is set up, or why it is not there.
        """
        if self.missing:
            return f"not installed: {', '.join(self.missing)}; pip install '.[bench]'"
        return self.setting


def _is_installed(distribution: str) -> bool:
    try:
        version(distribution)
    except PackageNotFoundError:
        return False
    return True
