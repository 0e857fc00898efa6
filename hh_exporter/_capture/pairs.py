"""
Pairs of instrumentations whose spans of one call can't be joined.

A framework's span of a stream, or of a failed call, may have no response id, and be in another
trace than its client's span. Such a pair is warned about, once.
"""

from __future__ import annotations

from typing import Final

from attrs import Factory, define

__all__ = ["Pairs"]

_ANTHROPIC: Final = "com.anthropic.sdk."
"""The anthropic client, which makes spans itself."""

_PAIRS: Final = {
    "openinference.instrumentation.langchain": (
        "openinference.instrumentation.openai",
        "openinference.instrumentation.anthropic",
        _ANTHROPIC,
    ),
    "opentelemetry.instrumentation.langchain": (_ANTHROPIC,),
}
"""By the instrumentation of a framework, those of clients; of OpenInference and OpenLLMetry."""

_CLIENTS: Final = tuple({client for clients in _PAIRS.values() for client in clients})


@define(eq=False)
class Pairs:
    """
    The instrumentations of clients whose calls one processor has seen.
    """

    _seen: set[str] = Factory(set)
    _has_warned: bool = False

    def look(self, scope: str, *, has_id: bool) -> tuple[str, str] | None:
        """
        Look at a call by an instrumentation.

        Returns:
            Both instrumentations, if it is the first call that may be reported twice.
        """
        if self._has_warned:
            return None
        if scope.startswith(_CLIENTS) and scope not in _PAIRS:
            self._seen.add(scope)
        if has_id or scope not in _PAIRS:
            return None
        client = next((each for each in self._seen if each.startswith(_PAIRS[scope])), None)
        if client is None:
            return None
        self._has_warned = True
        return scope, client
