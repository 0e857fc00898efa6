"""
Token counts, under the names that the usage of a client's response has.

Every family counts cached tokens among those of the prompt, and reasoning among those of the
completion. What is missing is unknown, not zero.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from hh_exporter._spans.attributes import Attributes, Table

__all__ = ["usage_of"]

Json: TypeAlias = dict[str, Any]


def usage_of(attributes: Attributes, names: Table) -> Json:
    """
    Take the counts away by their *names*; the total is added, if it follows from the others.

    No call has a prompt without tokens: where an answer has some, those of the prompt are unknown,
    as of streams of langchain-anthropic 1.7.
    """
    tokens: Json = attributes.take_numbers(names)
    if tokens.get("prompt_tokens") == 0 and tokens.get("completion_tokens"):
        del tokens["prompt_tokens"]
        tokens.pop("total_tokens", None)
    if "total_tokens" not in tokens and {"prompt_tokens", "completion_tokens"} <= tokens.keys():
        tokens["total_tokens"] = tokens["prompt_tokens"] + tokens["completion_tokens"]
    return tokens
