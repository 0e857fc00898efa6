"""
The attributes of langfuse's own spans: `langfuse.observation.*`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hh_exporter._spans.parts import Parts, present

if TYPE_CHECKING:
    from hh_exporter._spans.attributes import Attributes

__all__ = ["MARK", "read"]

MARK: Final = "langfuse.observation.type"

_TYPES: Final = {"generation": "model", "chain": "chain", "agent": "chain", "span": "chain"}


def read(attributes: Attributes) -> Parts:
    """
    Read the attributes of a span of this family.
    """
    kind = attributes.take(MARK)
    return present({"event_type": _TYPES.get(kind, "tool") if isinstance(kind, str) else None})
