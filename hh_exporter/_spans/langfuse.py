"""
The attributes of langfuse's own spans: `langfuse.observation.*`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from hh_exporter._spans.parts import Parts, present

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hh_exporter._spans.attributes import Attributes
    from hh_exporter._spans.span import Span

__all__ = ["MARK", "kind_of", "read"]

MARK: Final = "langfuse.observation.type"

_TYPES: Final = {"generation": "model", "chain": "chain", "agent": "chain", "span": "chain"}


def kind_of(attributes: Mapping[str, Any]) -> str:
    """
    Say of which type the event of a span of this family is.
    """
    kind = attributes.get(MARK)
    return _TYPES.get(kind, "tool") if isinstance(kind, str) else "tool"


def read(attributes: Attributes, span: Span) -> Parts:
    """
    Read the attributes of a span of this family.
    """
    kind = kind_of(attributes.left)
    attributes.take(MARK)
    return present({"event_type": kind})
