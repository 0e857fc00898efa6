"""
One attempt: hand over, and say what came back.

Whatever happens on the way becomes an `Answer`; only cancellation is raised, and nothing is
tried again here.
"""

from __future__ import annotations

from typing import Any, Protocol, Self

from hh_exporter._clock import Deadline
from hh_exporter._dialects.dialect import Answer

__all__ = ["Transport"]


class Transport(Protocol):
    """
    The connections to one server, or one cluster, for one event loop.

    An async context manager: it hands over what it is given while it is open.
    """

    @property
    def address(self) -> str:
        """
        Where it sends to, for logs.
        """

    @property
    def timeout(self) -> float:
        """
        Seconds for one attempt.
        """

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *_: object) -> None: ...

    def end_threads(self) -> None:
        """
        Let its threads end after their current calls. Any thread.
        """

    async def compress(self, body: Any) -> bytes | None:
        """
        Compress *body* by gzip; None if that would block the event loop.
        """

    async def send(
        self,
        method: str,
        path: str,
        body: Any,
        *,
        encoding: str = "",
        deadline: Deadline | None = None,
    ) -> Answer:
        """
        Hand over *body* once.

        Args:
            method: How, where there are several ways; such as "POST" or "PUT".
            path: Where to: a path, or a subject.
            body: What the dialect made.
            encoding: The Content-Encoding that *body* has already; "" for none.
            deadline: When to end; default: `timeout` seconds from now.

        Returns:
            What came back; an answer without a status if nothing did in time.
        """
