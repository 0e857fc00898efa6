"""
Token counts as langfuse has them: under a provider's names, or its own.

Its own names are of parts that add up: `input` does not include `input_cached_tokens`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hh_exporter._responses.anthropic import usage_of as of_anthropic
from hh_exporter._responses.chat import usage_of as of_chat
from hh_exporter._responses.gemini import usage_of as of_gemini
from hh_exporter._responses.responses import usage_of as of_responses
from hh_exporter._spans.parts import Parts, present

if TYPE_CHECKING:
    from hh_exporter._spans.attributes import Json

__all__ = ["counts_of"]

_READERS: Final = (
    ("prompt_tokens", of_chat),
    ("cache_read_input_tokens", of_anthropic),
    ("cache_creation_input_tokens", of_anthropic),
    ("input_tokens", of_responses),
    ("prompt_token_count", of_gemini),
    ("promptTokenCount", of_gemini),
)
"""By a count that one of the APIs has; Anthropic's are those with a cache."""

_OWN: Final = ("input", "output", "total")
_SIDES: Final = (("prompt_tokens", "input"), ("completion_tokens", "output"))
_CACHE: Final = ("cache_read_input_tokens", "cache_creation_input_tokens")
_DETAILS: Final = {
    "input_cache_read": "cache_read_tokens",
    "input_cached_tokens": "cache_read_tokens",
    "cache_read_input_tokens": "cache_read_tokens",
    "input_cache_creation": "cache_write_tokens",
    "cache_creation_input_tokens": "cache_write_tokens",
    "output_reasoning": "reasoning_tokens",
    "output_reasoning_tokens": "reasoning_tokens",
}


def counts_of(usage: Json) -> Parts | None:
    """
    Read *usage*, by the names that it has.
    """
    if not any(name in usage for name in _OWN):
        for name, read in _READERS:
            if name in usage:
                return read(usage)
    counts = {name: count for name, count in usage.items() if type(count) is int}
    sums = {key: _sum(counts, side) for key, side in _SIDES}
    total = counts.get("total")
    if total is not None and total == counts.get("input", 0) + counts.get("output", 0):
        sums = {key: counts.get(side) for key, side in _SIDES}  # whose details are in them
    known = [count for count in sums.values() if count is not None]
    tokens: Parts = {**sums, "total_tokens": total}
    if total is None and len(known) == len(sums):
        tokens["total_tokens"] = sum(known)
    for name, value in usage.items():
        if name not in _OWN or type(value) is not int:
            tokens.setdefault(_DETAILS.get(name, name), value)
    return present(tokens) or None


def _sum(counts: dict[str, int], side: str) -> int | None:
    own = [
        count
        for name, count in counts.items()
        if name == side
        or (name.startswith(f"{side}_") and not name.startswith(f"{side}_priority"))
        or (side == "input" and name in _CACHE)
    ]
    return sum(own) if own else None
