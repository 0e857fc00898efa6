"""
Token counts, under the names that the usage of a client's response has.

Every family counts cached tokens among those of the prompt, and reasoning among those of the
completion. What is missing is unknown, not zero.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hh_exporter._spans.attributes import Attributes

__all__ = ["Names", "usage_of"]

Json: TypeAlias = dict[str, Any]
Names: TypeAlias = "Iterable[tuple[str, tuple[str, ...]]]"
"""The name of a count in a response's usage, and those of the attributes that may have it."""


def usage_of(attributes: Attributes, names: Names) -> Json:
    """
    Take the counts away by their *names*; the total is added, if it follows from the others.
    """
    tokens: Json = {}
    for key, own in names:
        count = attributes.take_number(*own)
        if count is not None:
            tokens[key] = count
    if "total_tokens" not in tokens and {"prompt_tokens", "completion_tokens"} <= tokens.keys():
        tokens["total_tokens"] = tokens["prompt_tokens"] + tokens["completion_tokens"]
    return tokens
