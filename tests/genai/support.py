"""
Tables of support: what each family of instrumentation knows of a call.

`python -m tests.genai.support` writes them into docs/genai.md, from what the tests check.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from tests.genai.clients.client import scenarios_of
from tests.genai.expected import ASPECTS
from tests.genai.families import LAYERS
from tests.genai.gaps import GAPS, NO_EVENT, PARTIAL, STREAMED, Gap, gaps_of

__all__ = ["tables"]

PAGE: Final = Path(__file__).parents[2] / "docs" / "genai.md"
FIRST: Final = "of each call"
"""What the first of the tables begins with."""

FAMILIES: Final = {
    "semconv": "OpenTelemetry",
    "openinference": "OpenInference",
    "openllmetry": "OpenLLMetry",
    "anthropic": "the anthropic client",
    "pydantic-ai": "pydantic-ai",
    "litellm": "LiteLLM",
    "langfuse": "Langfuse",
}

CALLS: Final = {
    ("*",): "all",
    STREAMED: "streamed",
    PARTIAL: "streams not read to their end",
    (*PARTIAL, "cancelled while waiting"): "not read to their end",
    ("closed early", "abandoned", "cancelled*"): "closed or cancelled before the end",
    ("died",): "streams that break off",
    ("cancelled while waiting",): "cancelled before the answer",
    ("cancelled",): "cancelled streams",
    ("failed*",): "failed",
    ("failed, streamed",): "failed streams",
    ("failed*", "cancelled while waiting"): "failed, or cancelled before the answer",
    ("failed*", "cancelled*"): "failed or cancelled",
    ("failed", "cancelled*"): "failed or cancelled",
    ("streamed, async", "cancelled"): "streamed",
    ("streamed without usage",): "streams without usage",
    ("reasoning*",): "with reasoning",
    ("*tools*",): "with calls of tools",
    ("parallel tools",): "with several calls of tools",
    ("tool result",): "with results of tools",
    ("*image",): "with images",
    ("image",): "with images",
    ("large image",): "with large images",
}
"""Words for the scenarios of a gap."""


def tables() -> str:
    """
    Make a table of what each family knows, and one for each family of what it doesn't.
    """
    rows = [
        [_label(aspect), *(_cell(family, aspect) for family in FAMILIES)]
        for aspect in (NO_EVENT, *ASPECTS)
    ]
    parts = [_table([FIRST, *FAMILIES.values()], rows)]
    for family, name in FAMILIES.items():
        gaps = [gap for gap in GAPS if gap.family == family]
        head = ("calls", "client", "missing or different", "the instrumentation")
        parts += [f"### {name}", _table(head, map(_row, gaps))]
    return "\n\n".join(parts)


def _row(gap: Gap) -> list[str]:
    clients = "; ".join(pattern.strip("*,") for pattern in gap.clients) or "all"
    aspects = ", ".join(map(_label, gap.aspects))
    return [CALLS[gap.scenarios], clients, aspects, gap.why]


def _label(aspect: str) -> str:
    return "any event" if aspect == NO_EVENT else aspect


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(family: str, aspect: str) -> str:
    cases = [
        any(aspect in gap.aspects for gap in gaps_of(layer, scenario))
        for layer in LAYERS
        if layer.family == family
        for scenario in scenarios_of(layer.make(None))
    ]
    return "no" if all(cases) else "partly" if any(cases) else "yes"


if __name__ == "__main__":
    found = re.compile(rf"^\| {FIRST} \|.*?(?=\n\n## )", re.MULTILINE | re.DOTALL)
    PAGE.write_text(found.sub(lambda _: tables(), PAGE.read_text()))
